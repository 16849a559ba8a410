//! What came out, as people read it; and whether it is what was promised.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bench::report::quantile;
use crate::lab::endpoint::Outcome;
use crate::lab::nat::Kind;
use crate::lab::scene::{Class, Scene};
use crate::lab::trials::Cast;

/// A scene's trials.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) scene: Scene,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Figures of several trials.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) trials: usize,
    /// Milliseconds from the dial to the open connection, and to the first echo, of those that opened.
    open: Vec<f64>,
    first_byte: Vec<f64>,
    paths: BTreeMap<String, usize>,
    causes: BTreeMap<String, usize>,
    /// Milliseconds until those that failed said so.
    failed: Vec<f64>,
}

impl Summary {
    pub(crate) fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut this = Self {
            trials: 0,
            open: Vec::new(),
            first_byte: Vec::new(),
            paths: BTreeMap::new(),
            causes: BTreeMap::new(),
            failed: Vec::new(),
        };
        for outcome in outcomes {
            this.trials += 1;
            match outcome {
                Outcome::Open(opened) => {
                    this.open.push(opened.ms);
                    match opened.first_byte_ms {
                        Some(ms) => this.first_byte.push(ms),
                        None => *this.causes.entry("open but no echo".into()).or_default() += 1,
                    }
                    if let Some(path) = &opened.path {
                        *this.paths.entry(path.clone()).or_default() += 1;
                    }
                }
                Outcome::Failed { reason, ms } => {
                    *this.causes.entry(reason.clone()).or_default() += 1;
                    this.failed.extend(ms);
                }
            }
        }
        this
    }

    /// Connections that carried a byte there and back.
    pub(crate) fn worked(&self) -> usize {
        self.first_byte.len()
    }

    pub(crate) fn open_ms(&self, share: f64) -> f64 {
        quantile(&mut self.open.clone(), share)
    }

    pub(crate) fn first_byte_ms(&self, share: f64) -> f64 {
        quantile(&mut self.first_byte.clone(), share)
    }

    /// How many failed for this reason.
    pub(crate) fn failed_by(&self, reason: &str) -> usize {
        self.causes.get(reason).copied().unwrap_or(0)
    }

    pub(crate) fn failed_ms(&self, share: f64) -> f64 {
        quantile(&mut self.failed.clone(), share)
    }

    /// Share of the open connections that took this path.
    #[expect(clippy::cast_precision_loss, reason = "a handful of trials")]
    pub(crate) fn by(&self, paths: &[&str]) -> f64 {
        let taken: usize = paths.iter().filter_map(|path| self.paths.get(*path)).sum();
        taken as f64 / self.trials as f64
    }

    fn row(&self) -> String {
        let list = |counts: &BTreeMap<String, usize>| {
            let items: Vec<String> = counts.iter().map(|(name, count)| format!("{count}x {name}")).collect();
            items.join(", ")
        };
        let after = if self.failed.is_empty() {
            String::new()
        } else {
            format!(" after {:.0} ms", self.failed_ms(0.5))
        };
        format!(
            "{:>9} {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>9.0}  {:24} {}",
            format!("{}/{}", self.worked(), self.trials),
            self.open_ms(0.5),
            self.open_ms(0.9),
            self.open_ms(0.99),
            self.open_ms(1.0),
            self.first_byte_ms(0.5),
            list(&self.paths),
            list(&self.causes) + &after,
        )
    }

    /// All of it in a line.
    pub(crate) fn line(&self) -> String {
        let row = self.row();
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Successes and median, as a cell of the matrix shows them.
    fn cell(&self) -> String {
        let (median, max) = (self.open_ms(0.5), self.open_ms(1.0));
        let spread = if max > 1.5 * median { format!("-{max:.0}") } else { String::new() };
        let times = if self.open.is_empty() { String::new() } else { format!(" {median:.0}{spread}") };
        format!("{}/{}{times}", self.worked(), self.trials)
    }
}

/// The matrix of server and client kinds, as far as it was played.
pub(crate) fn matrix(cells: &[Cell]) -> String {
    let at = |server, client| cells.iter().find(|cell| cell.scene == Scene::Apart { server, client });
    let played = |kind: &Kind| {
        Kind::MATRIX.iter().any(|other| at(*kind, *other).is_some() || at(*other, *kind).is_some())
    };
    let kinds: Vec<Kind> = Kind::MATRIX.into_iter().filter(played).collect();
    let mut text = format!("{:>13} ", "server\\client");
    for client in &kinds {
        write_cell(&mut text, client.name());
    }
    for server in &kinds {
        text.push('\n');
        let _infallible = write!(text, "{:>13} ", server.name());
        for client in &kinds {
            let cell = at(*server, *client).map(|cell| Summary::of(&cell.outcomes).cell());
            write_cell(&mut text, &cell.unwrap_or_default());
        }
    }
    text
}

fn write_cell(text: &mut String, cell: &str) {
    let _infallible = write!(text, "{cell:<17}");
}

/// One row for each class, and for each scene outside the matrix.
pub(crate) fn classes(cast: Cast, cells: &[Cell]) -> String {
    let mut text = format!(
        "{:26} {:>9} {:>7} {:>7} {:>7} {:>7} {:>9}  {:24} {}",
        cast.name(),
        "worked",
        "p50 ms",
        "p90",
        "p99",
        "max",
        "echo p50",
        "paths",
        "failures"
    );
    for class in Class::ALL {
        let of_class: Vec<&Cell> = cells.iter().filter(|cell| cell.scene.class() == class).collect();
        if of_class.is_empty() {
            continue;
        }
        let summary = Summary::of(of_class.iter().flat_map(|cell| &cell.outcomes));
        let _infallible = write!(text, "\n{:26} {}", class.name(), summary.row());
        let apart = of_class.iter().all(|cell| matches!(cell.scene, Scene::Apart { .. }));
        for cell in of_class.iter().filter(|_| !apart && of_class.len() > 1) {
            let row = Summary::of(&cell.outcomes).row();
            let _infallible = write!(text, "\n  {:24} {row}", cell.scene.to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::endpoint::Opened;

    #[test]
    fn only_an_echo_counts_as_success() {
        let open =
            |first_byte_ms| Outcome::Open(Opened { ms: 200.0, first_byte_ms, path: Some("punched".into()) });
        let failed = Outcome::Failed { reason: "HOLEPUNCH_ABORTED".into(), ms: Some(460.0) };
        let summary = Summary::of(&[open(Some(300.0)), open(None), failed]);
        assert_eq!((summary.worked(), summary.trials), (1, 3));
        assert!((summary.open_ms(0.5) - 200.0).abs() < 1e-9);
        assert!((summary.by(&["punched"]) - 2.0 / 3.0).abs() < 1e-9);
        assert!(summary.row().contains("1x HOLEPUNCH_ABORTED, 1x open but no echo after 460 ms"));
    }
}
