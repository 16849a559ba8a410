//! `homing`: flags, output and exit codes around the library `homing-node`.

mod args;
mod commands;
mod console;
mod demo;
mod exit;
mod session;
mod signals;
mod topic;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::args::Cli;
use crate::console::{Console, Format};
use crate::exit::{Exit, Failed};
use crate::session::Session;
use crate::signals::{Input, Stop};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(if cli.global.json { Format::Json } else { Format::Text });
    log_to_stderr(cli.global.verbose);
    let outcome = run(cli, console);
    outcome.map_or_else(|failed| report(console, &failed), |()| Exit::Done).into()
}

fn run(cli: Cli, console: Console) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let input = if cli.global.until_stdin_closes { Input::Watched } else { Input::Ignored };
    let outcome = runtime.block_on(async {
        let stop = Stop::listen(input)?;
        commands::run(cli.command, &Session { global: cli.global, console, stop }).await
    });
    // A name service that does not answer must not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn report(console: Console, failed: &Failed) -> Exit {
    if failed.is_broken_pipe() {
        return Exit::Done;
    }
    if !matches!(failed.exit, Exit::Interrupted | Exit::Verdict(_)) {
        console.error(failed);
    }
    failed.exit
}

fn log_to_stderr(verbose: u8) {
    let wanted = std::env::var("HOMING_LOG").ok().and_then(|level| level.parse().ok());
    let level = match verbose {
        0 => wanted.unwrap_or(LevelFilter::WARN),
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).init();
}
