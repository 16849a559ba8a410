//! An owner's other devices, backups, and coming back after a loss.

use crate::process::{Net, PATIENCE, SOON, string};

#[test]
fn a_second_device_of_the_owner_has_everything_and_writes() {
    let net = Net::new();
    let (martha, made) = net.patient();
    martha.add("Allergic to penicillin");
    let code = net.folder.join("code.txt");
    std::fs::write(&code, string(&martha.run(&["device", "code"])["code"])).unwrap();
    let (code, phrase) = (code.to_str().unwrap().to_owned(), string(&made["phrase"]));
    let mut phone = net.nobody("phone");
    phone.serve(&["--bootstrap", &net.bootstrap]);
    let join =
        ["device", "join", "--code-file", &code, "--name", "Martha Jones", "--bootstrap", &net.bootstrap];
    // A wrong word is found before anything is written.
    let wrong = phrase.replacen(phrase.split(' ').next().unwrap(), "zebra", 1);
    let refused = phone.command(&join).env("PEHR_PHRASE", wrong).output().unwrap();
    assert_eq!(crate::process::refusal(&refused), (5, "phrase".into()));
    assert_eq!(phone.run(&["status"])["profile"], "none");
    let joined = phone.command(&join).env("PEHR_PHRASE", &phrase).output().unwrap();
    assert!(joined.status.success(), "{joined:?}");
    phone.until_text("Allergic to penicillin", PATIENCE);
    phone.add("written on the phone");
    martha.until_text("written on the phone", PATIENCE);
    assert_eq!(martha.run(&["device", "list"])["devices"].as_array().unwrap().len(), 2);
    // The root alone takes a device away.
    let key = string(&phone.run(&["status"])["records"][0]["key"]);
    let removed = martha.command(&["device", "remove", &key]).env("PEHR_PHRASE", &phrase).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(martha.run(&["device", "list"])["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn m23_with_phrase_and_backup_everything_is_back_and_can_be_written() {
    let net = Net::new();
    let (mut martha, made) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    martha.add("Allergic to penicillin");
    let backup = net.folder.join("martha.age");
    martha.run(&["backup", "--to", backup.to_str().unwrap()]);
    martha.kill();
    std::fs::remove_dir_all(&martha.dir).unwrap();

    let restore = ["restore", backup.to_str().unwrap()];
    let wrong = string(&made["phrase"]).replacen(' ', " zebra ", 1);
    let refused = martha.command(&restore).env("PEHR_PHRASE", wrong).output().unwrap();
    assert_eq!(crate::process::refusal(&refused), (5, "phrase".into()));
    assert!(!martha.dir.join("vault").exists());
    let restored = martha.command(&restore).env("PEHR_PHRASE", string(&made["phrase"])).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    martha.serve(&[]);
    let status = martha.run(&["status"]);
    assert_eq!(status["records"][0]["record"], made["record"]);
    assert_ne!(status["records"][0]["key"], made["key"], "no log is written in two places");
    assert!(martha.texts().contains(&"Allergic to penicillin".to_owned()));
    martha.add("written after the loss");
}

#[test]
fn m23_with_phrase_and_a_provider_that_is_there_the_record_is_back() {
    let net = Net::new();
    let (mut martha, made) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.add("Allergic to penicillin");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Allergic to penicillin", SOON);
    martha.kill();
    std::fs::remove_dir_all(&martha.dir).unwrap();
    let code = net.folder.join("code.txt");
    std::fs::write(&code, string(&smith.run(&["device", "code"])["code"])).unwrap();
    martha.serve(&["--bootstrap", &net.bootstrap]);
    let code = code.to_str().unwrap();
    let join =
        ["device", "join", "--code-file", code, "--name", "Martha Jones", "--bootstrap", &net.bootstrap];
    let joined = martha.command(&join).env("PEHR_PHRASE", string(&made["phrase"])).output().unwrap();
    assert!(joined.status.success(), "{joined:?}");
    martha.until_text("Allergic to penicillin", PATIENCE);
    assert_eq!(martha.run(&["status"])["records"][0]["record"], made["record"]);
    martha.add("written after the loss");
    smith.until_text("written after the loss", PATIENCE);
}
