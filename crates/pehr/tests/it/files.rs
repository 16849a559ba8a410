//! Attachments.

use crate::process::{Net, PATIENCE, SOON, string};

const LEN: usize = 16 << 20;

/// Kibibytes of a process in memory.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn m18_a_file_arrives_whole_though_the_connection_was_cut_and_memory_stays_flat() {
    let net = Net::new();
    let (mut martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    let before = (resident(smith.process()), resident(martha.process()));
    let (from, to) = (net.folder.join("scan.bin"), net.folder.join("copy.bin"));
    let bytes: Vec<u8> = (0_u32..).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).take(LEN).collect();
    std::fs::write(&from, &bytes).unwrap();
    let entry = string(&smith.run(&["attach", from.to_str().unwrap()])["entry"]);
    martha.until(&["show", &entry], SOON, |shown| shown["versions"][0]["said"]["files"][0]["bytes"] == LEN);

    let fetch = ["fetch", &entry, "--to", to.to_str().unwrap()];
    let mut child = martha.command(&fetch).spawn().unwrap();
    for _ in 0..5 {
        smith.run(&["net", "--offline"]);
        smith.run(&["net", "--bootstrap", &net.bootstrap]);
        martha.until(&["patients"], PATIENCE, |list| list["patients"][0]["connected"] == true);
    }
    assert!(child.wait().unwrap().success());
    assert!(std::fs::read(&to).unwrap() == bytes, "the copy is another");
    let growth = |process: u32, before: usize| resident(process).saturating_sub(before);
    assert!(growth(smith.process(), before.0) < 64 << 10, "{} KiB", growth(smith.process(), before.0));
    assert!(growth(martha.process(), before.1) < 64 << 10, "{} KiB", growth(martha.process(), before.1));
    // It is here now, and needs nobody.
    let again = net.folder.join("again.bin");
    martha.run(&["net", "--offline"]);
    martha.run(&["fetch", &entry, "--to", again.to_str().unwrap()]);
    assert_eq!(martha.fails(&["fetch", &entry, "--to", again.to_str().unwrap()]), (4, "file".into()));
    martha.kill();
}
