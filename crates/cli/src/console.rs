use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exit::Failed;

/// What takes longer than this is reported.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Where results, progress and errors go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    format: Format,
}

/// Who reads the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Console {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Returns who reads the results.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints one result, as one line of JSON or as text.
    pub(crate) fn line(self, json: &Value, text: impl fmt::Display) -> Result<(), Failed> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{json}"),
            Format::Text => writeln!(out, "{text}"),
        }?;
        Ok(out.flush()?)
    }

    /// Prints what only people want to read.
    pub(crate) fn text(self, text: impl fmt::Display) -> Result<(), Failed> {
        if self.format == Format::Text {
            writeln!(io::stdout().lock(), "{text}")?;
        }
        Ok(())
    }

    /// Prints why the command failed. Where even that cannot be printed, the exit code has to do.
    pub(crate) fn error(self, failed: &Failed) {
        let message = format!("{:#}", failed.error);
        let printed = match self.format {
            Format::Json => {
                let line = json!({"event": "error", "code": failed.code, "message": message});
                writeln!(io::stdout().lock(), "{line}")
            }
            Format::Text => writeln!(io::stderr().lock(), "homing: {message}"),
        };
        printed.unwrap_or_default();
    }

    /// Waits for `work`, and reports on standard error that it is under way if it takes long.
    pub(crate) async fn progress<T>(self, label: &str, work: impl Future<Output = T>) -> T {
        if self.format == Format::Json && !io::stderr().is_terminal() {
            return work.await;
        }
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut next = PATIENCE;
        loop {
            let Ok(done) = tokio::time::timeout(next, &mut work).await else {
                let seconds = started.elapsed().as_secs();
                // Progress that nobody can read is not worth failing for.
                writeln!(io::stderr().lock(), "{label} … {seconds} s").unwrap_or_default();
                next = REPORT_INTERVAL;
                continue;
            };
            return done;
        }
    }
}

/// Lays out rows in columns as wide as their widest cell; the first column is flush left, numbers flush right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let written = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
            written.expect("a string takes everything");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Returns a time in milliseconds, to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_names_left_and_numbers_right() {
        let rows = [vec!["a".into(), "10".into()], vec!["long".into(), "7".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name   n\na     10\nlong   7\n");
    }

    #[test]
    fn times_are_shown_to_the_microsecond() {
        assert!((millis(Duration::from_nanos(1_234_567)) - 1.235).abs() < 1e-9);
    }
}
