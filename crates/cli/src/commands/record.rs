use std::fmt::Write as _;
use std::io::Read;
use std::time::Instant;

use node::{Id, KeyPair, Node, PublicKey, Stored};
use serde_json::json;

use crate::args::{GetArgs, KeyArgs};
use crate::console::millis;
use crate::exit::Failed;
use crate::session::Session;

/// What is read from standard input; the network takes less, and says so.
const INPUT_BYTES_MAX: u64 = 64 << 10;

/// Stores a value, signed where a key was named.
pub(super) async fn put(
    session: &Session,
    value: String,
    key: &KeyArgs,
    seq: Option<u64>,
) -> Result<(), Failed> {
    let key = key.read()?;
    let value = session.or_stop(read_value(value)).await?;
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            let storing = async {
                match key {
                    None => put_immutable(session, node, value).await,
                    Some(key) => put_mutable(session, node, (key, seq), value).await,
                }
            };
            session.console.progress("storing", storing).await
        })
        .await
}

async fn put_immutable(session: &Session, node: &Node, value: Vec<u8>) -> Result<(), Failed> {
    let started = Instant::now();
    let target = node::hash(&value).to_string();
    let stored = node.put_immutable(value).await?.stored;
    let ms = millis(started.elapsed());
    let line = json!({"event": "stored", "target": target, "stored": stored, "ms": ms});
    session.console.line(&line, format_args!("{target}\nstored on {stored} nodes in {ms:.0} ms"))?;
    if stored == 0 { Err(Failed::new("not-stored", "no node stored it")) } else { Ok(()) }
}

async fn put_mutable(
    session: &Session,
    node: &Node,
    (key, seq): (KeyPair, Option<u64>),
    value: Vec<u8>,
) -> Result<(), Failed> {
    let public_key = key.public_key();
    let started = Instant::now();
    let seq = match seq {
        Some(seq) => seq,
        None => node.get_mutable(public_key, 0).await?.map_or(0, |record| record.seq.saturating_add(1)),
    };
    let done = node.put_mutable(key, seq, value).await?;
    let Stored { stored, seq_reused, seq_too_low, .. } = done;
    let refused = seq_reused + seq_too_low;
    let ms = millis(started.elapsed());
    let line = json!({
        "event": "stored", "public_key": public_key.to_string(), "seq": seq, "stored": stored,
        "refused": refused, "ms": ms,
    });
    let text = format!("{public_key}\nsequence number {seq} stored on {stored} nodes in {ms:.0} ms");
    session.console.line(&line, text)?;
    match (seq_too_low, seq_reused) {
        (0, 0) if stored == 0 => Err(Failed::new("not-stored", "no node stored it")),
        (0, 0) => Ok(()),
        (0, nodes) => {
            Err(Failed::new("seq-reused", format_args!("{nodes} nodes hold {seq} with another value")))
        }
        (nodes, _) => {
            Err(Failed::new("seq-too-low", format_args!("{nodes} nodes hold a number above {seq}")))
        }
    }
}

/// Reads a value, signed where a key was named.
pub(super) async fn get(session: &Session, args: GetArgs) -> Result<(), Failed> {
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            let reading = read(node, args);
            let found = session.console.progress("reading", reading).await?;
            let (seq, value) = found.ok_or_else(|| Failed::new("not-found", "nobody has it"))?;
            show_value(session, seq, &value)
        })
        .await
}

async fn read(node: &Node, args: GetArgs) -> Result<Option<(Option<u64>, Vec<u8>)>, Failed> {
    Ok(match (args.target, args.key) {
        (Some(target), _) => read_immutable(node, target).await?,
        (None, Some(key)) => read_mutable(node, key, args.seq.unwrap_or_default()).await?,
        (None, None) => return Err(Failed::usage("which value?")),
    })
}

async fn read_immutable(node: &Node, target: Id<32>) -> Result<Option<(Option<u64>, Vec<u8>)>, Failed> {
    Ok(node.get_immutable(target).await?.map(|value| (None, value)))
}

async fn read_mutable(
    node: &Node,
    key: PublicKey,
    seq_min: u64,
) -> Result<Option<(Option<u64>, Vec<u8>)>, Failed> {
    Ok(node.get_mutable(key, seq_min).await?.map(|record| (Some(record.seq), record.value)))
}

fn show_value(session: &Session, seq: Option<u64>, value: &[u8]) -> Result<(), Failed> {
    let mut hex = String::with_capacity(value.len() * 2);
    for byte in value {
        write!(hex, "{byte:02x}").expect("a string takes everything");
    }
    let text = std::str::from_utf8(value).ok();
    let mut line = json!({"event": "value", "value": text, "hex": hex});
    if let Some(seq) = seq {
        line["seq"] = json!(seq);
    }
    session.console.line(&line, text.unwrap_or(&hex))
}

/// On a thread of its own where it may take as long as somebody types.
pub(super) async fn read_value(value: String) -> Result<Vec<u8>, Failed> {
    if value != "-" {
        return Ok(value.into_bytes());
    }
    let reading = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    Ok(reading.await.map_err(Failed::system)??)
}
