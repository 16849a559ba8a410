//! Entries: what may change them, and what stays.

use crate::process::{Net, PATIENCE, SOON, string};

#[test]
fn m11_an_amended_and_a_retracted_entry_stay_readable_and_only_their_author_or_the_owner_may() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let entry = martha.add("Allergic to penicilin");
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Allergic to penicilin", SOON);
    assert_eq!(smith.fails(&["amend", &entry, "not allergic"]), (1, "refused".into()));
    assert_eq!(smith.fails(&["retract", &entry, "--reason", "no"]), (1, "refused".into()));
    assert_eq!(smith.fails(&["erase", &entry]), (1, "refused".into()));

    martha.run(&["amend", &entry, "Allergic to penicillin", "--reason", "spelling"]);
    smith.until_text("Allergic to penicillin", SOON);
    let history = smith.run(&["history", &entry]);
    let said: Vec<_> =
        history["versions"].as_array().unwrap().iter().map(|v| string(&v["said"]["body"])).collect();
    assert_eq!(said, ["Allergic to penicilin", "Allergic to penicillin"]);
    assert_eq!(history["versions"][1]["said"]["reason"], "spelling");

    let mistake = smith.add("of another person");
    smith.run(&["retract", &mistake, "--reason", "wrong patient"]);
    let retracted = |list: &serde_json::Value| {
        list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["entry"] == mistake.as_str() && e["state"] == "retracted")
    };
    martha.until(&["list"], SOON, retracted);
    assert_eq!(martha.run(&["show", &mistake])["versions"][0]["said"]["reason"], "wrong patient");
}

#[test]
fn m11_two_versions_made_apart_are_both_kept_until_one_follows_both() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    let entry = smith.add("seen on Monday");
    martha.until_text("seen on Monday", SOON);
    martha.run(&["net", "--offline"]);
    smith.run(&["amend", &entry, "seen on Tuesday", "--reason", "calendar"]);
    martha.run(&["amend", &entry, "seen on Wednesday", "--reason", "memory"]);
    martha.run(&["net", "--bootstrap", &net.bootstrap]);
    let two = |shown: &serde_json::Value| shown["heads"] == 2;
    martha.until(&["show", &entry], PATIENCE, two);
    smith.until(&["show", &entry], PATIENCE, two);
    martha.run(&["amend", &entry, "seen on Tuesday the 3rd", "--reason", "both looked"]);
    smith.until(&["show", &entry], SOON, |shown| shown["heads"] == 1);
    assert_eq!(smith.run(&["history", &entry])["versions"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_erased_is_erased_with_everybody_and_stands_in_no_answer() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let entry = martha.add("a secret of youth");
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("a secret of youth", SOON);
    martha.run(&["erase", &entry]);
    let erased = |shown: &serde_json::Value| shown["versions"][0]["said"]["missing"] == "erased";
    assert!(erased(&martha.run(&["show", &entry])));
    smith.until(&["show", &entry], SOON, erased);
}

#[test]
fn m28_every_deed_is_a_line_of_the_audit_with_the_key_that_signed_it() {
    let net = Net::new();
    let (martha, made) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    let entry = martha.add("one");
    martha.run(&["amend", &entry, "two"]);
    martha.run(&["export", "--to", net.folder.join("all.json").to_str().unwrap()]);
    martha.run(&["revoke", "Dr Smith"]);
    let deeds = martha.run(&["audit"])["deeds"].clone();
    let deeds = deeds.as_array().unwrap();
    let own = string(&made["key"]);
    let smiths = string(&martha.run(&["people"])["people"][0]["key"]);
    let did = |key: &str, what: &str| deeds.iter().any(|deed| deed["key"] == key && deed["did"] == what);
    for what in [
        "became a device of the owner",
        "gave access",
        "added an entry",
        "amended an entry",
        "exported",
        "ended access",
    ] {
        assert!(did(&own, what), "{what}: {deeds:?}");
    }
    assert!(did(&smiths, "accepted"), "{deeds:?}");
}
