use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::bench::process::{self, Program};
use crate::lab::endpoint::Side;
use crate::lab::namespace::Namespace;
use crate::lab::site::Internet;

const PORT: u16 = 49737;

/// Nodes that others enter the network by.
const ENTRIES: usize = 3;

/// Nodes of the DHT in the middle of the internet, one on each address.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) bootstrap: Vec<String>,
    /// Where the nodes keep what they must not share.
    folder: PathBuf,
    nodes: Vec<Program>,
}

impl Network {
    pub(crate) fn start(side: Side, internet: &Internet) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("homing-lab-{}", std::process::id()));
        let mut this = Self { bootstrap: Vec::new(), folder, nodes: Vec::new() };
        match side {
            Side::Rust => this.start_rust(internet)?,
            Side::JavaScript => this.start_javascript(internet)?,
        }
        Ok(this)
    }

    fn start_rust(&mut self, internet: &Internet) -> Result<()> {
        for host in &internet.nodes {
            let words = ["--host", &host.to_string(), "--port", &PORT.to_string()].map(str::to_owned);
            let role = if self.bootstrap.len() < ENTRIES {
                vec!["bootstrap"]
            } else {
                vec!["node", "--persistent", "--open"]
            };
            let mut command = process::homing()?;
            command.args(self.bootstrap.iter().flat_map(|entry| ["--bootstrap", entry]));
            command.args(words).args(role).env("HOMING_DATA_DIR", self.folder.join(host.to_string()));
            let program = Program::start(&mut internet.middle.inside(&command))?;
            program.wait_for("ready")?;
            self.nodes.push(program);
            if self.bootstrap.len() < ENTRIES {
                self.bootstrap.push(format!("{host}:{PORT}"));
            }
        }
        Ok(())
    }

    fn start_javascript(&mut self, internet: &Internet) -> Result<()> {
        let mut script = process::script("network.js");
        script.args(internet.nodes.iter().map(ToString::to_string));
        let program = Program::start(&mut internet.middle.inside(&script))?;
        let ready = program.wait_for("ready")?;
        let entries = ready["bootstrap"].as_array().context("the network names no bootstrap nodes")?;
        self.bootstrap = entries.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect();
        self.nodes.push(program);
        Ok(())
    }

    /// Runs a relay that any two peers may use.
    pub(crate) fn add_relay(&mut self, host: &Namespace) -> Result<()> {
        let mut command = process::homing()?;
        command.args(self.bootstrap.iter().flat_map(|entry| ["--bootstrap", entry])).arg("relay");
        command.env("HOMING_DATA_DIR", self.folder.join("relay"));
        let program = Program::start(&mut host.inside(&command))?;
        program.wait_for("listening").context("the relay does not start")?;
        self.nodes.push(program);
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.nodes.clear();
        // Some networks keep nothing.
        let _gone = fs::remove_dir_all(&self.folder);
    }
}
