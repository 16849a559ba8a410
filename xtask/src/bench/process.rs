use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Longest wait for a line of a program: hundreds of JavaScript nodes start one after the other.
const LINE_WAIT_MAX: Duration = Duration::from_mins(2);

/// Lines of a program that wait to be read: a flooded node prints 12,000 in ten minutes.
const LINES_MAX: usize = 1 << 15;

/// A core of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// Where what is measured runs.
    Measured,
    /// Where the harness runs.
    Harness,
}

impl Core {
    fn set(self) -> Result<CpuSet> {
        let cores = thread::available_parallelism()?.get();
        let mut set = CpuSet::new();
        set.set(match self {
            Self::Measured => 0,
            Self::Harness => 1.min(cores - 1),
        })?;
        Ok(set)
    }
}

/// Keeps the calling thread, and those that it starts, on one core.
pub(crate) fn pin_this_thread(core: Core) -> Result<()> {
    Ok(sched_setaffinity(Pid::from_raw(0), &core.set()?)?)
}

/// What a program says by its first byte of output.
pub(crate) const FIRST_OUTPUT: &str = "output";

/// Which of a program's outputs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Output,
    /// Standard error; the first output counts as a line, of the event [`FIRST_OUTPUT`] unless it is
    /// one itself.
    Complaints,
}

/// A program under measurement that speaks in lines of JSON; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts a program on any core.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Self::start_hearing(Voice::Output, command)
    }

    /// Starts a program on any core whose lines come by this of its outputs.
    pub(crate) fn start_hearing(voice: Voice, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped());
        match voice {
            Voice::Output => command.stdout(Stdio::piped()),
            Voice::Complaints => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        };
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let heard: Box<dyn Read + Send> = match voice {
            Voice::Output => Box::new(child.stdout.take().context("the child has no stdout")?),
            Voice::Complaints => Box::new(child.stderr.take().context("the child has no stderr")?),
        };
        let (sender, lines) = mpsc::sync_channel(LINES_MAX);
        if let (Voice::Complaints, Some(mut output)) = (voice, child.stdout.take()) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut first = [0; 1024];
                let len = output.read(&mut first).unwrap_or_default();
                let text = String::from_utf8_lossy(first.get(..len).unwrap_or_default());
                let line = if text.starts_with('{') {
                    text.trim_end().to_owned()
                } else {
                    json!({ "event": FIRST_OUTPUT }).to_string()
                };
                if len > 0 {
                    // Whoever does not wait for it misses nothing.
                    let _heard = sender.send(line);
                }
                std::io::copy(&mut output, &mut std::io::sink())
            });
        }
        thread::spawn(move || {
            for line in BufReader::new(heard).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Starts a program that stays on one core with all its threads.
    pub(crate) fn start_on(core: Core, command: &mut Command) -> Result<Self> {
        // A child inherits the affinity of the thread that starts it.
        let before = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
        pin_this_thread(core)?;
        let started = Self::start(command);
        sched_setaffinity(Pid::from_raw(0), &before)?;
        started
    }

    /// Writes a line of JSON to its input.
    pub(crate) fn say(&mut self, line: &Value) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("its input has ended")?;
        writeln!(stdin, "{line}").context("it does not listen")
    }

    /// Waits for the next JSON line in which `event` has this value.
    pub(crate) fn wait_for(&self, event: &str) -> Result<Value> {
        let deadline = Instant::now() + LINE_WAIT_MAX;
        loop {
            let value = self.line(deadline.saturating_duration_since(Instant::now()))?;
            if value["event"] == event {
                return Ok(value);
            }
        }
    }

    /// Waits for the next JSON line.
    pub(crate) fn line(&self, longest: Duration) -> Result<Value> {
        let line = self.lines.recv_timeout(longest).context("a program ended or said nothing")?;
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// Lets the program run for a while, reading what it prints.
    ///
    /// # Errors
    ///
    /// Fails if it ends before.
    pub(crate) fn settle(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        ensure!(self.child.try_wait()?.is_none(), "a program ended early");
        Ok(())
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells how much processor time all its threads have used.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let ran = text.split_whitespace().next().context("schedstat is empty")?;
            total += ran.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Tells how much of its memory is resident, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// Tells how much of its memory was resident at any time, in KiB.
    pub(crate) fn resident_kib_max(&self) -> Result<u64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }

    /// Asks the program to end, by ending its input, and returns the lines that it still prints.
    pub(crate) fn end(&mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        self.lines.iter().collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already; nothing is left to do then.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Reads an address that a program printed.
pub(crate) fn address(value: &Value) -> Result<SocketAddrV4> {
    let text = value.as_str().context("an address is missing")?;
    text.parse().with_context(|| format!("not an address: {text}"))
}

/// A script of `bench/` under Node, with the packages of `interop/`.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(crate::root().join("bench").join(name));
    command
}

/// Tells which reference of a subject is installed.
pub(crate) fn reference(subject: &str) -> Result<String> {
    let name = if subject == "tooldb" { "tool-db" } else { "hyperdht" };
    let package = crate::root().join("interop/node_modules").join(name).join("package.json");
    let text = fs::read_to_string(package).context("no reference is installed: run `npm ci` in interop/")?;
    let version = serde_json::from_str::<Value>(&text)?["version"].to_string();
    let node = Command::new("node").arg("--version").output().context("node is not installed")?.stdout;
    Ok(format!("{name} {} under Node {}", version.trim_matches('"'), String::from_utf8_lossy(&node).trim()))
}

/// The `homing` binary that was built as this program was.
pub(crate) fn homing() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("homing"));
    command.arg("--json");
    Ok(command)
}
