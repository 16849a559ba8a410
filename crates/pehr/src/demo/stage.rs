use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use node::{Config, Node};
use pehr::hostile::Hostile;
use pehr::{Request, control};
use serde_json::{Value, json};

use super::failed;
use crate::exit::Failed;

const PASSPHRASE: &str = "correct horse battery staple";
/// Nodes of the private network, besides those of the people.
const NODES: usize = 4;
/// Between two looks at something that is on its way.
const LOOK: Duration = Duration::from_millis(50);

/// Somebody with a process of their own.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) dir: PathBuf,
    process: Option<Child>,
}

impl Person {
    /// Asks the person's process.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, Failed> {
        Ok(control::ask(&self.dir, &request, |_, _| {}).await?)
    }

    /// Asks until the answer is as it should be, and returns how long that took.
    pub(super) async fn until(
        &self,
        request: Request,
        time_max: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<(Value, Duration), Failed> {
        let begun = Instant::now();
        loop {
            let answer = control::ask(&self.dir, &request, |_, _| {}).await;
            match answer {
                Ok(answer) if is_so(&answer) => return Ok((answer, begun.elapsed())),
                other if begun.elapsed() > time_max => {
                    let last = other.map_or_else(|error| error.to_string(), |answer| answer.to_string());
                    return Err(failed(format_args!("not within {time_max:?}; the last answer was {last}")));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Ends the process as a power cut does.
    pub(super) fn kill(&mut self) -> Result<(), Failed> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result<(), Failed> {
        self.start_with(PASSPHRASE)
    }

    pub(super) fn start_with(&mut self, passphrase: &str) -> Result<(), Failed> {
        let mut process = pehr(&self.dir, passphrase).arg("serve").spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| failed("a process without output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        if ready["event"] == "ready" {
            self.process = Some(process);
            return Ok(());
        }
        process.wait()?;
        let message = ready["error"]["message"].as_str().unwrap_or("it said nothing");
        let code = ready["error"]["code"].as_str().unwrap_or("demo-failed");
        Err(Failed::new(code, message))
    }

    /// UDP sockets of the process, as the system counts them.
    pub(super) fn udp_sockets(&self) -> Result<usize, Failed> {
        let Some(process) = &self.process else { return Ok(0) };
        let mut inodes = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", process.id()))? {
            if let Ok(target) = std::fs::read_link(entry?.path()) {
                let target = target.to_string_lossy().into_owned();
                inodes.extend(
                    target
                        .strip_prefix("socket:[")
                        .and_then(|rest| rest.strip_suffix(']'))
                        .map(str::to_owned),
                );
            }
        }
        let mut count = 0;
        for table in ["udp", "udp6"] {
            let table = std::fs::read_to_string(format!("/proc/{}/net/{table}", process.id()))?;
            let theirs = table.lines().filter_map(|line| line.split_whitespace().nth(9));
            count += theirs.filter(|inode| inodes.iter().any(|own| own == inode)).count();
        }
        Ok(count)
    }

    /// Files of the person in which a text stands as it is.
    pub(super) fn files_with(&self, text: &str) -> Result<usize, Failed> {
        let mut folders = vec![self.dir.clone()];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                let kind = std::fs::symlink_metadata(&path)?.file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let bytes = std::fs::read(&path)?;
                    found += usize::from(bytes.windows(text.len()).any(|window| window == text.as_bytes()));
                }
            }
        }
        Ok(found)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.kill());
    }
}

fn pehr(dir: &Path, passphrase: &str) -> Command {
    let binary = std::env::current_exe().unwrap_or_else(|_| "pehr".into());
    let mut command = Command::new(binary);
    command.arg("--json").arg("--data-dir").arg(dir).env("PEHR_PASSPHRASE", passphrase);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Everybody, and the network between them.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    nodes: Vec<Node>,
    pub(super) bootstrap: String,
    pub(super) patient: Person,
    pub(super) smith: Person,
    pub(super) stranger: Person,
    pub(super) newcomer: Person,
    pub(super) hostile: Option<Hostile>,
    hostiles: u32,
    /// Texts that later steps come back to.
    pub(super) notes: std::collections::BTreeMap<&'static str, String>,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, Failed> {
        let network = |error: node::SpawnError| failed(error);
        let probe = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let std::net::SocketAddr::V4(address) = probe.local_addr()? else {
            return Err(failed("loopback has no IPv4 address"));
        };
        drop(probe);
        let first = Node::spawn(Config::bootstrapper(address)).await.map_err(network)?;
        let mut nodes = vec![first];
        for _ in 1..NODES {
            nodes.push(Node::spawn(Config::testnet(vec![address])).await.map_err(network)?);
        }
        for node in &nodes {
            node.ready().await.map_err(failed)?;
        }
        let folder = std::env::temp_dir().join(format!("pehr-demo-{}", std::process::id()));
        let person = |name: &str| Person { dir: folder.join(name), process: None };
        Ok(Self {
            nodes,
            bootstrap: address.to_string(),
            patient: person("martha"),
            smith: person("smith"),
            stranger: person("stranger"),
            newcomer: person("newcomer"),
            hostile: None,
            hostiles: 0,
            notes: std::collections::BTreeMap::new(),
            folder,
        })
    }

    /// Makes a profile with the command, and starts its process.
    pub(super) fn enrol(
        &mut self,
        who: fn(&mut Self) -> &mut Person,
        args: &[&str],
    ) -> Result<Value, Failed> {
        let bootstrap = self.bootstrap.clone();
        let person = who(self);
        std::fs::create_dir_all(&person.dir)?;
        std::fs::set_permissions(&person.dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let output = pehr(&person.dir, PASSPHRASE)
            .arg("init")
            .args(args)
            .arg("--bootstrap")
            .arg(bootstrap)
            .output()?;
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !output.status.success() {
            return Err(failed(format_args!("init failed: {answer}")));
        }
        person.start()?;
        Ok(answer)
    }

    /// Starts the provider that attacks, on a node of its own.
    pub(super) async fn raise_hostile(&mut self) -> Result<&mut Hostile, Failed> {
        self.hostiles += 1;
        let address = self.bootstrap.parse().map_err(failed)?;
        let node = Node::spawn(Config::testnet(vec![address])).await.map_err(failed)?;
        node.ready().await.map_err(failed)?;
        let hostile =
            Hostile::new(node, &self.folder.join(format!("hostile-{}", self.hostiles))).map_err(failed)?;
        Ok(self.hostile.insert(hostile))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn note(&self, of: &'static str) -> String {
        self.notes.get(of).cloned().unwrap_or_default()
    }

    /// Ends everything, and leaves nothing behind.
    pub(super) async fn strike(mut self) {
        for person in [&mut self.patient, &mut self.smith, &mut self.stranger, &mut self.newcomer] {
            // It may have ended already.
            drop(person.kill());
        }
        for node in std::mem::take(&mut self.nodes) {
            // It may have ended already.
            drop(node.shutdown().await);
        }
        // A folder that cannot be removed is no failure of what was shown.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// An invitation as the command issues it.
pub(super) fn invitee(name: &str, minutes: u32) -> Request {
    Request::Invite(pehr::Invitee {
        name: pehr::Spoken(name.into()),
        role: "contributor".into(),
        minutes,
        days: None,
        history: "whole".into(),
    })
}

pub(super) fn says(text: &str) -> Request {
    let draft = pehr::Draft {
        kind: "note".into(),
        media_type: "text/plain".into(),
        body: text.into(),
        reason: String::new(),
    };
    Request::Add { record: None, draft }
}

/// Whether a list has an entry with a text.
pub(super) fn has(list: &Value, text: &str) -> bool {
    list["entries"].as_array().into_iter().flatten().any(|entry| entry["text"] == text)
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}

/// The refusals among what everybody did.
pub(super) fn refusals(audit: &Value) -> Vec<Value> {
    let deeds = audit["deeds"].as_array().cloned().unwrap_or_default();
    deeds.into_iter().filter(|deed| deed["refused"] != json!(null)).collect()
}
