//! `pehr`: flags, terminal and exit codes around the library `pehr`.

mod args;
mod commands;
mod demo;
mod exit;
mod terminal;
mod words;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::args::Cli;
use crate::exit::Failed;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    let level = match cli.global.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // Where even this cannot be printed, the exit code has to do.
            let printed = if json {
                let line = serde_json::json!({"error": {"code": failed.code, "message": failed.message}});
                writeln!(std::io::stdout().lock(), "{line}")
            } else {
                writeln!(std::io::stderr().lock(), "pehr: {}", failed.message)
            };
            printed.unwrap_or_default();
            failed.code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(commands::run(cli));
    runtime.shutdown_background();
    outcome
}
