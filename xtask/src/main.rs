//! The workshop: checks and measurements of the repository that need code. `cargo xtask` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is for the terminal")]

#[cfg(target_os = "linux")]
mod bench;
mod ci;
#[cfg(target_os = "linux")]
mod flood;
#[cfg(target_os = "linux")]
mod lab;
mod reference;
mod seeds;
mod sim;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

/// A command of the workshop. A new one is a module with such a constant, and a row in [`COMMANDS`].
struct Command {
    name: &'static str,
    summary: &'static str,
    /// What follows the name on the command line, and what it means; `--help` prints it.
    help: &'static str,
    /// Takes the arguments after the name. An error is a failure of the world; what the command found is its
    /// exit code: 0 nothing, 1 something, 2 wrong arguments.
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

const COMMANDS: &[Command] = &[
    #[cfg(target_os = "linux")]
    bench::COMMAND,
    ci::COMMAND,
    #[cfg(target_os = "linux")]
    flood::COMMAND,
    #[cfg(target_os = "linux")]
    lab::COMMAND,
    reference::COMMAND,
    seeds::COMMAND,
    sim::COMMAND,
    tidy::COMMAND,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        println!("{}", usage());
        return ExitCode::from(2);
    };
    if is_help(name) {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("there is no command `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    if rest.iter().any(|argument| is_help(argument)) {
        println!("cargo xtask {} {}", command.name, command.help);
        return ExitCode::SUCCESS;
    }
    (command.run)(rest).unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}");
        ExitCode::FAILURE
    })
}

fn is_help(argument: &str) -> bool {
    matches!(argument, "help" | "--help" | "-h")
}

fn usage() -> String {
    let rows = COMMANDS.iter().map(|command| format!("  {:10} {}", command.name, command.summary));
    let rows: Vec<String> = rows.collect();
    format!("cargo xtask COMMAND [--help]\n\n{}", rows.join("\n"))
}

/// Refuses arguments that a command does not know.
fn refuse(command: &Command, argument: &str) -> ExitCode {
    eprintln!(
        "`{argument}` is not an argument of `{}`\n\ncargo xtask {} {}",
        command.name, command.name, command.help
    );
    ExitCode::from(2)
}

/// The top folder of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_names_every_command() {
        let usage = usage();
        for command in COMMANDS {
            assert!(usage.contains(command.name) && usage.contains(command.summary), "{}", command.name);
        }
    }

    #[test]
    fn every_command_has_help_and_a_name_of_its_own() {
        for (at, command) in COMMANDS.iter().enumerate() {
            assert!(!command.help.is_empty(), "{}", command.name);
            assert!(COMMANDS[..at].iter().all(|earlier| earlier.name != command.name), "{}", command.name);
        }
    }
}
