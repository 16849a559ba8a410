//! Power cuts, and bytes that change on the disk.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::process::{Net, PATIENCE, SOON, string};

/// Power cuts in CI; `PEHR_CUTS=50` for more.
const CUTS: u32 = 6;

#[test]
fn m2_every_acknowledged_entry_outlives_power_cuts_and_old_peers_come_back_without_an_invitation() {
    let cuts = std::env::var("PEHR_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let net = Net::new();
    let (mut martha, made) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    let mut acknowledged = Vec::new();
    for cut in 0..cuts {
        let mut stream = UnixStream::connect(martha.dir.join("control")).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        let wanted = 3 + cut * 7 % 11;
        for number in 0..wanted {
            let text = format!("entry {cut} {number}");
            let draft = json!({"kind": "note", "media_type": "text/plain", "body": text, "reason": ""});
            writeln!(stream, "{}", json!({"cmd": "add", "record": null, "draft": draft})).unwrap();
            let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
            acknowledged.push((string(&answer["done"]["entry"]), text));
        }
        // One more is under way.
        let draft = json!({"kind": "note", "media_type": "text/plain", "body": "perhaps", "reason": ""});
        writeln!(stream, "{}", json!({"cmd": "add", "record": null, "draft": draft})).unwrap();
        martha.kill();
        martha.serve(&[]);
        let list = martha.run(&["list"]);
        let here: Vec<_> = list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (string(&e["entry"]), string(&e["text"])))
            .collect();
        assert!(acknowledged.iter().all(|entry| here.contains(entry)), "cut {cut}");
    }
    let status = martha.run(&["status"]);
    assert_eq!(
        (&status["records"][0]["record"], &status["records"][0]["key"]),
        (&made["record"], &made["key"])
    );
    assert_eq!(status["records"][0]["warnings"], json!([]));
    smith.until_text(&acknowledged.last().unwrap().1, PATIENCE);
}

#[test]
fn m10_m28_a_store_that_was_set_back_is_noticed_at_the_next_meeting() {
    let net = Net::new();
    let (mut martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    martha.stop();
    let store = martha.dir.join("vault/store");
    let old = std::fs::read(&store).unwrap();
    martha.serve(&[]);
    martha.add("lost with the old copy");
    smith.until_text("lost with the old copy", PATIENCE);
    martha.stop();
    std::fs::write(&store, old).unwrap();
    martha.serve(&[]);
    let noticed = |status: &Value| {
        let warnings = status["records"][0]["warnings"].as_array().unwrap();
        warnings.iter().any(|warning| warning.as_str().unwrap().contains("set back"))
    };
    martha.until(&["status"], PATIENCE, noticed);
    martha.until_text("lost with the old copy", SOON);
}

/// The longest run of bytes that two files do not have in common.
fn changed(before: &[u8], after: &[u8]) -> std::ops::Range<usize> {
    let is_new = |at: usize| before.get(at) != after.get(at);
    let mut longest = 0..0;
    let mut start = 0;
    let mut same = 0;
    for at in 0..after.len() {
        same = if is_new(at) { 0 } else { same + 1 };
        // Bytes of random contents are alike now and then.
        if same > 8 {
            start = at + 1;
        }
        if at - start.min(at) > longest.len() {
            longest = start..at;
        }
    }
    longest
}

#[test]
fn m10_an_entry_whose_bytes_changed_on_the_disk_is_shown_as_damaged_and_never_as_a_fact() {
    let net = Net::new();
    let mut martha = net.nobody("martha");
    martha.serve(&[]);
    martha.run(&["init", "--patient", "--name", "Martha Jones", "--offline"]);
    let safe = martha.add("Allergic to penicillin");
    martha.stop();
    let store = martha.dir.join("vault/store");
    let before = std::fs::read(&store).unwrap();
    martha.serve(&[]);
    let long = "a long story ".repeat(8_000);
    let entry = martha.add(&long);
    martha.stop();
    let mut after = std::fs::read(&store).unwrap();
    let place = changed(&before, &after);
    assert!(place.len() > 50_000, "{place:?}");
    after[place.start + place.len() / 2] ^= 1;
    std::fs::write(&store, after).unwrap();
    martha.serve(&[]);
    let shown = martha.run(&["show", &entry]);
    assert_eq!(
        (&shown["versions"][0]["damaged"], &shown["versions"][0]["said"]["body"]),
        (&json!(true), &Value::Null)
    );
    let list = martha.run(&["list"]);
    let states: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (string(&e["entry"]), string(&e["state"])))
        .collect();
    assert!(
        states.contains(&(entry, "damaged".into())) && states.contains(&(safe, "current".into())),
        "{states:?}"
    );
}
