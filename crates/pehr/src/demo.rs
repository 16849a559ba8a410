//! A patient, two providers and a stranger on a private network on loopback, as real processes; every step is checked.

mod stage;
mod steps;

use std::io::Write as _;
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exit::Failed;
use stage::Stage;
use steps::STEPS;

/// No step takes this long on loopback, unless it hangs.
const STEP_MAX: Duration = Duration::from_secs(20);

/// Who reads what the demo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// One thing that the demo does; to add one, write it and add it to [`STEPS`].
struct Step {
    /// What is done, as a person would say it.
    name: &'static str,
    /// Does it, and returns what was seen, or why that is not as it should be.
    run: for<'a> fn(&'a mut Stage) -> Doing<'a>,
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<String, Failed>> + 'a>>;

/// Runs all steps up to the first that fails, since each builds on those before it.
pub(crate) async fn run(format: Format) -> Result<(), Failed> {
    let started = Instant::now();
    let mut stage = Stage::set().await?;
    for Step { name, run } in STEPS {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(STEP_MAX, run(&mut stage)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(failed(format_args!("took longer than {STEP_MAX:?}"))));
        let (check, seen) = match &outcome {
            Ok(seen) => ("ok", seen.as_str()),
            Err(failed) => ("FAILED", failed.message.as_str()),
        };
        let took = begun.elapsed();
        let mut out = std::io::stdout().lock();
        if format == Format::Json {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let line =
                json!({"event": "step", "name": name, "ok": outcome.is_ok(), "millis": millis, "seen": seen});
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{check:<6} {:>6.2} s  {name}: {seen}", took.as_secs_f64())?;
        }
        drop(out);
        if outcome.is_err() {
            stage.strike().await;
            return Err(failed(format_args!("the step {name:?} failed")));
        }
    }
    stage.strike().await;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{}", json!({"event": "done", "steps": STEPS.len(), "millis": millis}))?;
    } else {
        writeln!(out, "\nAll {} steps ok, {:.1} s.", STEPS.len(), started.elapsed().as_secs_f64())?;
    }
    Ok(())
}

fn failed(message: impl std::fmt::Display) -> Failed {
    Failed::new("demo-failed", message)
}
