//! Profiles, the passphrase, and what happens before and without them.

use std::os::unix::fs::MetadataExt as _;

use crate::process::{Net, SOON, files, sockets, string};

#[test]
fn m1_the_demographics_are_an_entry_and_stand_in_no_file() {
    let net = Net::new();
    let (mut martha, made) = net.patient();
    assert_eq!(string(&made["phrase"]).split_whitespace().count(), 24);
    let to = net.folder.join("export.json");
    martha.run(&["export", "--to", to.to_str().unwrap()]);
    let bundle: serde_json::Value = serde_json::from_slice(&std::fs::read(&to).unwrap()).unwrap();
    let patient = &bundle["entry"][0]["resource"];
    assert_eq!(patient["resourceType"], "Patient");
    assert_eq!(
        (&patient["name"][0]["text"], &patient["birthDate"]),
        (&"Martha Jones".into(), &"1950-02-28".into())
    );
    let (code, log) = martha.stop();
    assert_eq!((code, log.as_str()), (Some(0), ""));
    for file in files(&martha.dir) {
        let bytes = std::fs::read(&file).unwrap();
        for text in ["Martha", "Jones", "1950-02-28"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} in {file:?}");
        }
    }
}

#[test]
fn m3_before_a_profile_there_is_no_socket_but_the_interfaces_and_after_it_there_is() {
    let net = Net::new();
    let mut martha = net.nobody("martha");
    let ready = martha.serve(&["--bootstrap", &net.bootstrap]);
    assert_eq!(ready["status"]["profile"], "none");
    assert_eq!(sockets(martha.process()), 0);
    assert_eq!(martha.fails(&["list"]), (1, "no-profile".into()));
    assert_eq!(martha.fails(&["net"]), (1, "no-profile".into()));
    martha.run(&["init", "--patient", "--name", "Martha Jones", "--bootstrap", &net.bootstrap]);
    assert!(sockets(martha.process()) > 0, "the profile is what joins");
    assert_eq!(martha.run(&["net"])["network"], "joined");
    martha.run(&["net", "--offline"]);
    assert_eq!(sockets(martha.process()), 0);
    assert_eq!(martha.run(&["net"])["network"], "offline");
}

#[test]
fn m22_files_are_their_owners_alone_and_a_wrong_passphrase_opens_nothing() {
    let net = Net::new();
    let mut martha = net.nobody("martha");
    martha.run(&["init", "--patient", "--name", "Martha Jones", "--offline"]);
    martha.serve(&[]);
    martha.add("a sentinel of its own");
    for file in files(&martha.dir) {
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{file:?}");
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"a sentinel"), "{file:?}");
    }
    martha.run(&["lock"]);
    assert_eq!(martha.fails(&["list"]), (5, "locked".into()));
    let wrong = martha.command(&["unlock"]).env("PEHR_PASSPHRASE", "another").output().unwrap();
    assert_eq!(crate::process::refusal(&wrong), (5, "wrong-passphrase".into()));
    assert_eq!(martha.fails(&["list"]), (5, "locked".into()));
    martha.run(&["unlock"]);
    assert_eq!(martha.texts().len(), 2);

    let changed = martha.command(&["passwd"]).env("PEHR_NEW_PASSPHRASE", "another").output().unwrap();
    assert!(changed.status.success());
    martha.run(&["lock"]);
    assert_eq!(martha.fails(&["unlock"]), (5, "wrong-passphrase".into()));
    let unlocked = martha.command(&["unlock"]).env("PEHR_PASSPHRASE", "another").output().unwrap();
    assert!(unlocked.status.success());
    assert_eq!(martha.texts().len(), 2);
}

#[test]
fn m22_one_guess_of_a_passphrase_costs_64_mebibytes_three_times() {
    let net = Net::new();
    let martha = net.nobody("martha");
    martha.run(&["init", "--patient", "--name", "Martha Jones", "--offline"]);
    let cost = vault::KeyFile::decode(&std::fs::read(martha.dir.join("vault/key")).unwrap()).unwrap().cost;
    assert!(cost.memory_kib >= 64 * 1024 && cost.passes >= 3, "{cost:?}");
}

#[test]
fn nothing_about_a_person_is_logged() {
    let net = Net::new();
    let (mut martha, _) = net.patient();
    martha.stop();
    let log = net.folder.join("log");
    martha.serve_logging(&log);
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    let code = string(&martha.run(&["invite", "Dr Jones"])["code"]);
    martha.add("Allergic to penicillin");
    smith.until_text("Allergic to penicillin", SOON);
    martha.stop();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.is_empty());
    for text in ["Martha", "Smith", "penicillin", "1950", code.as_str(), "correct horse"] {
        assert!(!log.contains(text), "{text} is logged");
    }
}

#[test]
fn m25_wrong_use_and_failure_have_codes_of_their_own() {
    let net = Net::new();
    let mut martha = net.nobody("martha");
    assert_eq!(martha.fails(&["list"]), (3, "not-running".into()));
    assert_eq!(martha.command(&["list", "--nonsense"]).output().unwrap().status.code(), Some(2));
    let born = ["init", "--patient", "--name", "M", "--born", "1950-02-32", "--offline"];
    assert_eq!(martha.fails(&born), (2, "usage".into()));
    martha.run(&["init", "--patient", "--name", "Martha Jones", "--offline"]);
    assert_eq!(martha.fails(&["init", "--provider", "--name", "x"]), (1, "profile-exists".into()));
    martha.serve(&[]);
    // Another process keeps its hands off.
    assert_eq!(martha.fails(&["serve"]), (4, "system".into()));
    assert_eq!(martha.fails(&["show", "ffff"]), (1, "not-found".into()));
    assert_eq!(martha.fails(&["revoke", "Nobody"]), (1, "not-found".into()));
    assert_eq!(martha.fails(&["redeem", "pehr:AAAA"]), (2, "usage".into()));
    assert_eq!(martha.fails(&["invite", "x", "--role", "king"]), (2, "usage".into()));
    assert_eq!(martha.fails(&["confirm", "--no"]), (1, "nobody-waiting".into()));
    assert_eq!(martha.fails(&["accept", "--no", "--wait", "0"]), (3, "late".into()));
    let commands = [
        "init", "serve", "status", "unlock", "lock", "passwd", "invite", "cancel", "redeem", "confirm",
        "accept", "people", "revoke", "patients", "add", "amend", "retract", "list", "show", "history",
        "attach", "fetch", "erase", "audit", "export", "backup", "restore", "net", "demo",
    ];
    for command in commands {
        let help = martha.command(&[command, "--help"]).output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains("Example") && text.contains(&format!("pehr {command}")), "{command}: {text}");
    }
}
