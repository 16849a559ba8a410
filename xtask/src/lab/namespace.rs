use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps the handles of network namespaces.
const HANDLES: &str = "/run/netns";

/// How the names of our namespaces begin; the number of the process that made them follows.
const PREFIX: &str = "homing-lab-";

/// Settings of every namespace: it forwards, believes any source, and tells nobody of better ways.
const SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
];

/// A network of its own on this machine, without a way out; gone when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{name}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let this = Self { name };
        this.ip("link set lo up")?;
        this.within(|| {
            for (setting, value) in SETTINGS {
                write_setting(setting, value)?;
            }
            anyhow::Ok(())
        })??;
        Ok(this)
    }

    /// Removes what earlier runs left that were killed.
    pub(crate) fn sweep() -> Result<()> {
        let Ok(entries) = fs::read_dir(HANDLES) else { return Ok(()) };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
            if maker.is_some_and(|(process, _)| !Path::new("/proc").join(process).exists()) {
                run(Command::new("ip").args(["netns", "del", &name]))?;
            }
        }
        Ok(())
    }

    /// Runs `ip` on this network; the words are separated by spaces.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Replaces the packet filter's rules.
    pub(crate) fn filter(&self, rules: &str) -> Result<()> {
        let mut command = self.command("nft");
        let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("nft is missing")?;
        nft.stdin.take().context("its input is piped")?.write_all(rules.as_bytes())?;
        ensure!(nft.wait()?.success(), "the packet filter refuses the rules of {}:\n{rules}", self.name);
        Ok(())
    }

    /// A program that will run here.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// The same program with the same arguments and variables, but here.
    pub(crate) fn inside(&self, program: &Command) -> Command {
        let mut command = self.command(program.get_program());
        command.args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Does work on a thread that is here; sockets it opens stay here wherever they are used.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let handle = File::open(Path::new(HANDLES).join(&self.name))?;
        thread::scope(|scope| {
            let worker = scope.spawn(move || -> Result<T> {
                setns(handle, CloneFlags::CLONE_NEWNET).context("this needs root")?;
                Ok(work())
            });
            worker.join().map_err(|_| anyhow!("a thread in a namespace panicked"))?
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is left is swept by the next run.
        let _swept = run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// Writes a setting of the network that the calling thread is in.
pub(crate) fn write_setting(setting: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys").join(setting), value).with_context(|| format!("cannot set {setting}"))
}

/// Runs a program to its end, which must be a success.
fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", complaint.trim());
    Ok(())
}
