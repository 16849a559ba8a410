//! What a person types and sees.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use qrcode::QrCode;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::exit::Failed;

/// Reads a secret: from a file, from the environment, or from the terminal without showing it.
pub(crate) fn secret(file: Option<&Path>, variable: &str, prompt: &str) -> Result<Zeroizing<String>, Failed> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| Failed::new("file", format_args!("cannot read {}: {error}", path.display())))?;
        return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    if let Ok(text) = std::env::var(variable) {
        return Ok(Zeroizing::new(text));
    }
    if !io::stdin().is_terminal() {
        let how = format_args!("{prompt} is needed: name a file, set {variable}, or run this on a terminal");
        return Err(Failed::new("usage", how));
    }
    let mut out = io::stderr().lock();
    write!(out, "{prompt}: ")?;
    out.flush()?;
    let shown = tcgetattr(io::stdin()).map_err(io::Error::from)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(io::stdin(), SetArg::TCSANOW, &hidden).map_err(io::Error::from)?;
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().read_line(&mut line);
    tcsetattr(io::stdin(), SetArg::TCSANOW, &shown).map_err(io::Error::from)?;
    writeln!(out)?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks a person who sits there.
pub(crate) fn is_yes(question: &str) -> Result<bool, Failed> {
    if !io::stdin().is_terminal() {
        return Err(Failed::new(
            "usage",
            "give the other side's words with --words, or run this on a terminal",
        ));
    }
    let mut out = io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Tells how far something is, on standard error.
pub(crate) fn progress(done: u64, total: u64) {
    if io::stderr().is_terminal() {
        // Progress that nobody can read is not worth failing for.
        write!(io::stderr().lock(), "\r{done} of {total} bytes").unwrap_or_default();
    }
}

/// A picture of a text, of half blocks; dark on light, whatever the terminal's colours.
pub(crate) fn picture(text: &str) -> Option<String> {
    // Letters and digits in upper case need fewer dots.
    let code = QrCode::new(text.to_uppercase()).ok()?;
    let width = i32::try_from(code.width()).ok()?;
    let dark = |x: i32, y: i32| {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return false };
        x < code.width() && y < code.width() && code[(x, y)] == qrcode::Color::Dark
    };
    let mut picture = String::new();
    for y in (-2..width + 2).step_by(2) {
        picture.push_str("\x1b[30;47m");
        for x in -2..width + 2 {
            picture.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        picture.push_str("\x1b[0m\n");
    }
    Some(picture)
}

/// A value as indented lines: what has no form of its own is shown like that.
pub(crate) fn lines(value: &Value) -> String {
    let mut text = String::new();
    write_lines(&mut text, value, 0);
    text
}

fn write_lines(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Null => {}
                    Value::Array(items) if items.is_empty() => {}
                    Value::Object(_) | Value::Array(_) => {
                        writeln!(text, "{indent}{name}:").expect("text grows");
                        write_lines(text, value, depth + 1);
                    }
                    other => writeln!(text, "{indent}{name}: {}", word(other)).expect("text grows"),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(_) => {
                        write_lines(text, item, depth);
                        text.push('\n');
                    }
                    other => writeln!(text, "{indent}{}", word(other)).expect("text grows"),
                }
            }
        }
        other => writeln!(text, "{indent}{}", word(other)).expect("text grows"),
    }
}

/// A value in a line; what came from others moves no cursor.
pub(crate) fn word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
