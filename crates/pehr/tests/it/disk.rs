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
