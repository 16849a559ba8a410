//! Processes to test with, and a network for them.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use node::{Config, Node};
use serde_json::Value;
use tokio::runtime::Runtime;

/// What is promised for a share on loopback.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Whatever takes longer will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
const PASSPHRASE: &str = "correct horse battery staple";

/// Tells the folders of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A private network, and a folder that goes away with the test.
pub(crate) struct Net {
    pub(crate) runtime: Runtime,
    nodes: Vec<Node>,
    pub(crate) bootstrap: String,
    pub(crate) folder: PathBuf,
}

impl Net {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let nodes = runtime.block_on(async {
            let first = loop {
                let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                let address = probe.local_addr().unwrap().to_string().parse().unwrap();
                drop(probe);
                // Another test may take the port that was free; then try another.
                if let Ok(node) = Node::spawn(Config::bootstrapper(address)).await {
                    break node;
                }
            };
            let mut nodes = vec![first];
            for _ in 0..2 {
                nodes.push(Node::spawn(Config::testnet(vec![nodes[0].server_address()])).await.unwrap());
            }
            for node in &nodes {
                node.ready().await.unwrap();
            }
            nodes
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pehr-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { runtime, bootstrap: nodes[0].server_address().to_string(), nodes, folder }
    }

    /// A node for somebody who has no process.
    pub(crate) fn node(&self) -> Node {
        let first = self.nodes[0].server_address();
        self.runtime.block_on(async {
            let node = Node::spawn(Config::testnet(vec![first])).await.unwrap();
            node.ready().await.unwrap();
            node
        })
    }

    /// Somebody without a profile and without a process.
    pub(crate) fn nobody(&self, name: &str) -> Person {
        Person { dir: self.folder.join(name), serve: None }
    }

    pub(crate) fn patient(&self) -> (Person, Value) {
        let mut martha = self.nobody("martha");
        martha.serve(&[]);
        let bootstrap = &self.bootstrap;
        let made = martha.run(&[
            "init",
            "--patient",
            "--name",
            "Martha Jones",
            "--born",
            "1950-02-28",
            "--bootstrap",
            bootstrap,
        ]);
        (martha, made)
    }

    pub(crate) fn provider(&self, folder: &str, name: &str) -> Person {
        let mut person = self.nobody(folder);
        person.serve(&[]);
        person.run(&["init", "--provider", "--name", name, "--bootstrap", &self.bootstrap]);
        person
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Somebody with a directory and a process.
pub(crate) struct Person {
    pub(crate) dir: PathBuf,
    serve: Option<Child>,
}

impl Person {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pehr"));
        command.args(args).arg("--json").arg("--data-dir").arg(&self.dir);
        command.env_clear().env("PEHR_PASSPHRASE", PASSPHRASE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command that must do what it should.
    pub(crate) fn run(&self, args: &[&str]) -> Value {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail; returns the exit code and the name of the case.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        refusal(&self.command(args).output().unwrap())
    }

    /// Runs a command until its answer is as it should be.
    pub(crate) fn until(&self, args: &[&str], time_max: Duration, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let output = self.command(args).output().unwrap();
            if let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout)
                && output.status.success()
                && is_so(&answer)
            {
                return answer;
            }
            assert!(begun.elapsed() < time_max, "{args:?} not within {time_max:?}: {output:?}");
        }
    }

    /// Starts the process that keeps the records.
    pub(crate) fn serve(&mut self, args: &[&str]) -> Value {
        let mut child = self.command(&[&["serve"], args].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.serve = Some(child);
        serde_json::from_str(&line).unwrap()
    }

    /// Starts the process with everything that it can log, in a file.
    pub(crate) fn serve_logging(&mut self, log: &Path) {
        let mut command = self.command(&["serve", "-vvv"]);
        let mut child = command.stderr(std::fs::File::create(log).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.serve = Some(child);
    }

    pub(crate) fn process(&self) -> u32 {
        self.serve.as_ref().unwrap().id()
    }

    /// Ends the process as a power cut does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.serve.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the process as Ctrl-C does; returns its exit code and what it logged.
    pub(crate) fn stop(&mut self) -> (Option<i32>, String) {
        let child = self.serve.take().unwrap();
        let id = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Adds a note, and returns its entry.
    pub(crate) fn add(&self, text: &str) -> String {
        string(&self.run(&["add", text])["entry"])
    }

    /// Redeems an invitation, both compare the words, and the patient accepts.
    pub(crate) fn share_with(&self, other: &Self, name: &str) {
        let invited = self.run(&["invite", name]);
        let words = string(&other.run(&["redeem", &string(&invited["code"])])["words"]);
        let confirm = other.command(&["confirm", "--words", &words]).spawn().unwrap();
        self.run(&["accept", "--words", &words]);
        let confirmed = confirm.wait_with_output().unwrap();
        assert!(confirmed.status.success(), "{confirmed:?}");
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        texts(&self.run(&["list"]))
    }

    pub(crate) fn until_text(&self, text: &str, time_max: Duration) {
        self.until(&["list"], time_max, |list| texts(list).iter().any(|one| one == text));
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(mut child) = self.serve.take() {
            // It may have ended already.
            drop(child.kill());
            child.wait().unwrap();
        }
    }
}

pub(crate) fn refusal(output: &Output) -> (i32, String) {
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(!output.status.success(), "it was allowed: {answer}");
    (output.status.code().unwrap(), string(&answer["error"]["code"]))
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(crate) fn texts(list: &Value) -> Vec<String> {
    list["entries"].as_array().unwrap().iter().map(|entry| string(&entry["text"])).collect()
}

/// Files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// UDP and TCP sockets of a process, as the system counts them.
pub(crate) fn sockets(process: u32) -> usize {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let inodes: Vec<String> = links
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["udp", "udp6", "tcp", "tcp6", "raw"];
    let lines =
        tables.iter().map(|table| std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap());
    lines
        .flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| {
            line.split_whitespace().nth(9).is_some_and(|inode| inodes.iter().any(|own| own == inode))
        })
        .count()
}
