//! Processes to test with.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// No command takes this long; one that hangs is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prepares a command that knows nothing of this user's settings.
pub(crate) fn homing(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command that ran to its end left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
}

impl Done {
    pub(crate) fn new(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { code: output.status.code(), lines }
    }

    /// The line of one kind; there must be one.
    pub(crate) fn event(&self, name: &str) -> &Value {
        self.lines.iter().find(|line| line["event"] == name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// How a command that was told to end did so.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) took: Duration,
    /// What it printed since its lines were last read.
    pub(crate) lines: Vec<Value>,
}

/// A command that runs until it is told to end.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    stdin: Option<ChildStdin>,
}

impl Running {
    pub(crate) fn new(args: &[&str]) -> Self {
        let mut child =
            homing(args).args(["--json", "--until-stdin-closes"]).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let lines = read_lines(child.stdout.take().unwrap());
        Self { child, lines, stdin }
    }

    /// Waits for a line of one kind.
    pub(crate) fn event(&self, name: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waiting for {name}"));
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["event"] == name {
                return line;
            }
        }
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn signal(mut self, signal: Signal) -> Ended {
        let started = Instant::now();
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        self.end(started)
    }

    /// Closes the standard input of the process, and waits for the end.
    pub(crate) fn close_stdin(mut self) -> Ended {
        let started = Instant::now();
        drop(self.stdin.take());
        self.end(started)
    }

    fn end(&mut self, started: Instant) -> Ended {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(serde_json::from_str(&line).unwrap()),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        let code = self.child.wait().unwrap().code();
        Ended { code, took: started.elapsed(), lines }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

fn read_lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    lines
}

/// A private network.
#[derive(Debug)]
pub(crate) struct Testnet {
    _running: Running,
    pub(crate) bootstrap: String,
    pub(crate) nodes: Vec<String>,
}

impl Testnet {
    pub(crate) fn new(nodes: u16) -> Self {
        let running = Running::new(&["testnet", &nodes.to_string()]);
        let ready = running.event("ready");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let bootstrap = text(&ready["bootstrap"][0]);
        let nodes = ready["nodes"].as_array().unwrap().iter().map(text).collect();
        Self { _running: running, bootstrap, nodes }
    }

    /// Runs a command in this network to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        let mut command = homing(args);
        command.args(["--json", "--bootstrap", &self.bootstrap]);
        Done::new(command)
    }

    /// Starts a command in this network.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::new(&[args, &["--bootstrap", &self.bootstrap]].concat())
    }
}

/// A fresh directory that goes away with the test.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("homing-{}-{name}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
