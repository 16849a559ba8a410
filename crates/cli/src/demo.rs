//! A private network on loopback, used in every way there is, with a check of each result.

mod steps;

use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::commands::{Network, Place, nodes_line, show_nodes};
use crate::console::millis;
use crate::exit::Failed;
use crate::session::Session;
use steps::{STEPS, Stage};

/// No step takes this long on loopback, unless it hangs.
const STEP_MAX: Duration = Duration::from_secs(20);

/// One thing that the demo does; to add one, write it and add it to [`STEPS`].
struct Step {
    /// What is done, as a person would say it.
    name: &'static str,
    /// Does it, and returns what was seen, or an error if that is not as it should be.
    run: for<'a> fn(&'a mut Stage) -> Doing<'a>,
}

type Doing<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

/// Runs all steps, also after one that failed, and shows the network at the end.
pub(crate) async fn demo(session: &Session, count: u16) -> Result<(), Failed> {
    let started = Instant::now();
    let starting = session.console.progress("starting nodes", Network::start(count, Place::LOOPBACK));
    let network = session.or_stop(starting).await?;
    let seen = format!("{count} nodes on loopback");
    show(session, "start a private network", &Ok(seen), started.elapsed())?;

    let mut stage = Stage::new(network)?;
    let outcome = session.or_stop(run_steps(session, &mut stage)).await;
    stage.network.shutdown().await?;
    match outcome? {
        0 => session.console.text(format_args!(
            "\nAll {} steps ok, {:.1?}.",
            STEPS.len() + 1,
            started.elapsed()
        )),
        failed => {
            Err(Failed::new("demo-failed", format_args!("{failed} of {} steps failed", STEPS.len() + 1)))
        }
    }
}

/// Returns how many failed.
async fn run_steps(session: &Session, stage: &mut Stage) -> Result<usize, Failed> {
    let mut failed = 0;
    for step in STEPS {
        let started = Instant::now();
        let doing = tokio::time::timeout(STEP_MAX, (step.run)(stage));
        let outcome = session.console.progress(step.name, doing).await;
        let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("took longer than {STEP_MAX:?}")));
        failed += usize::from(outcome.is_err());
        show(session, step.name, &outcome, started.elapsed())?;
    }
    let mut snapshots = Vec::new();
    for node in &stage.network.nodes {
        snapshots.push(node.snapshot().await?);
    }
    session
        .console
        .line(&nodes_line(&snapshots)?, format_args!("\n{}", show_nodes(&snapshots).trim_end()))?;
    Ok(failed)
}

fn show(
    session: &Session,
    name: &str,
    outcome: &anyhow::Result<String>,
    elapsed: Duration,
) -> Result<(), Failed> {
    let (check, seen) = match outcome {
        Ok(seen) => ("ok", seen.clone()),
        Err(error) => ("FAILED", format!("{error:#}")),
    };
    let ms = millis(elapsed);
    let line = json!({"event": "step", "name": name, "check": check, "ms": ms, "seen": seen});
    session.console.line(&line, format_args!("{check:<6} {ms:>9.1} ms  {name:<46} {seen}"))
}
