use std::process::ExitCode;

use anyhow::{Result, bail};

/// Runs the node that is flooded.
pub(crate) fn serve(_host: &str, _port: &str, _pinged: &str) -> Result<ExitCode> {
    bail!("not yet")
}
