//! Processes that are killed while they write.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chart::{Chart, Reading, Scope};
use vault::{CACHE_BYTES, PENDING_BYTES_MAX, Shelf, Vault};

use crate::world::{Room, digest, now, passphrase, root, says, text};

/// Tells a process of this test which vault to write to.
const VAULT: &str = "HOMING_VAULT_TEST_DIRECTORY";

/// Runs one test of this file in a process of its own.
fn process(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("crash::{test}"), "--exact", "--nocapture"])
        .env(VAULT, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Writes entries in groups and erases some, and says so each time after they are on the disk.
fn write(chart: &mut Chart<Shelf>, groups: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut kept = Vec::new();
    for group in 0..groups {
        let added: Vec<_> = (0..=group % 7)
            .map(|n| chart.add(now(), Scope::GENERAL, &says(&format!("{group} {n}"))).unwrap())
            .collect();
        chart.flush().unwrap();
        for (n, id) in added.iter().enumerate() {
            writeln!(out, "added {id} {group} {n}")?;
        }
        out.flush()?;
        kept.extend(added);
        if group % 5 == 4 {
            let id = kept.remove(group % kept.len());
            chart.erase(now(), &BTreeSet::from([id])).unwrap();
            chart.flush().unwrap();
            writeln!(out, "erased {id}")?;
            out.flush()?;
        }
    }
    Ok(())
}

#[test]
fn everything_acknowledged_is_there_after_the_writer_was_killed_at_any_moment() {
    if let Some(directory) = std::env::var_os(VAULT) {
        let vault = Vault::open(Path::new(&directory), &passphrase()).unwrap();
        let record = *vault.records().next().unwrap();
        let (mut chart, cut_off) = vault.chart(&record).unwrap();
        assert_eq!(cut_off, []);
        write(&mut chart, usize::MAX).unwrap();
    }
    let room = Room::new();
    let record = room.create().found(now(), &root()).unwrap().record();
    let (mut added, mut erased) = (Vec::new(), BTreeSet::new());
    let mut checked = 0;
    for round in 0_usize..50 {
        let mut child = process(
            "everything_acknowledged_is_there_after_the_writer_was_killed_at_any_moment",
            &room.vault(),
        );
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // How much a writer gets done before the signal comes differs from round to round.
        let mut until = 1 + round * 37 % 40;
        let mut take = |line: String| {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["added", id, group, n] => added.push((digest(id), format!("{group} {n}"))),
                ["erased", id] => drop(erased.insert(digest(id))),
                _ => return 0,
            }
            1
        };
        while until > 0 {
            until -= take(lines.next().expect("the writer writes until it is killed"));
        }
        child.kill().unwrap();
        // What it had said before it died counts too, but for a line that was cut short.
        let rest: Vec<_> = lines.collect();
        for line in rest.into_iter().filter(|line| line.len() > 70) {
            take(line);
        }
        child.wait().unwrap();
        let vault = room.open();
        let (chart, cut_off) = vault.chart(&record).unwrap();
        assert_eq!(cut_off, [], "round {round}");
        // All of them in the last round.
        let from = if round == 49 { 0 } else { checked };
        for (id, expected) in &added[from..] {
            if erased.contains(id) {
                assert!(matches!(chart.read(id).unwrap(), Reading::Erased), "round {round}");
            } else if !matches!(chart.read(id).unwrap(), Reading::Erased) {
                assert_eq!(text(&chart, id).as_ref(), Some(expected), "round {round}");
            }
        }
        checked = added.len();
    }
    assert!(added.len() > 500 && erased.len() > 30, "{} {}", added.len(), erased.len());
}

/// The most memory that this process has had, in bytes.
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn memory_does_not_grow_with_an_attachment() {
    const LEN: usize = 96 << 20;
    let Some(directory) = std::env::var_os(VAULT) else {
        let room = Room::new();
        drop(room.create());
        let child = process("memory_does_not_grow_with_an_attachment", &room.vault());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success(), "{said}");
    };
    let mut vault = Vault::open(Path::new(&directory), &passphrase()).unwrap();
    let mut chart = vault.found(now(), &root()).unwrap();
    let before = most_memory();
    let piece: Vec<u8> = (0..1_u32 << 20).map(|at| at.to_le_bytes()[usize::from(at % 3 == 0)]).collect();
    let mut sealer = chart.attach();
    for _ in 0..LEN / piece.len() {
        chart.store_parts(sealer.push(&piece).unwrap()).unwrap();
    }
    let (attachment, parts) = sealer.finish("scan".into(), "image/dicom".into());
    chart.store_parts(parts).unwrap();
    chart.flush().unwrap();
    let mut len = 0;
    for number in 0.. {
        let Some(chunk) = chart.read_chunk(&attachment, number).unwrap() else { break };
        assert!(piece[len % piece.len()..].starts_with(&chunk));
        len += chunk.len();
    }
    assert_eq!(len, LEN);
    let grown = most_memory() - before;
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert!(grown < 2 * (CACHE_BYTES + PENDING_BYTES_MAX), "{} MiB", grown >> 20);
    let store = std::fs::metadata(Path::new(&directory).join("store")).unwrap();
    let stored = store.blocks() * 512;
    assert!(stored < LEN as u64 * 5 / 4, "{} of {} MiB", stored >> 20, store.len() >> 20);
}
