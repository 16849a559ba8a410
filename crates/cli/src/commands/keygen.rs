use std::path::PathBuf;

use node::{DataDir, Id, KeyPair};
use serde_json::json;

use crate::exit::Failed;
use crate::session::Session;

/// Creates a key file, the one of the data directory if none was named.
pub(super) fn keygen(session: &Session, file: Option<PathBuf>, seed: Option<Id<32>>) -> Result<(), Failed> {
    let seed = seed.map_or_else(node::seed, |Id(seed)| Ok(seed))?;
    let file = match file {
        Some(file) => {
            node::create_key(&file, seed)?;
            file
        }
        None => DataDir::open(&session.data_dir()?)?.create_key(seed)?,
    };
    let public_key = KeyPair::from_seed(seed).public_key().to_string();
    let line = json!({"public_key": public_key, "file": file.display().to_string()});
    session.console.line(&line, format_args!("{public_key}\nwritten to {}", file.display()))
}
