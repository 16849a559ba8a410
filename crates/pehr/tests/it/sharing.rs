//! Invitations, six words, what is shared, and its end.

use crate::process::{Net, PATIENCE, SOON, refusal, string, texts};

#[test]
fn m4_invitations_differ_are_short_and_good_once_until_their_end_or_until_they_are_taken_back() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    let one = string(&martha.run(&["invite", "Dr Smith"])["code"]);
    let other = martha.run(&["invite", "Dr Jones", "--role", "reader"]);
    assert_ne!(string(&other["code"]), one);
    assert!(one.len() <= 200);

    let words = string(&smith.run(&["redeem", &one])["words"]);
    let invitations = martha.run(&["people"])["invitations"].clone();
    let states: Vec<_> = invitations
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (string(&row["name"]), string(&row["state"])))
        .collect();
    assert!(states.contains(&("Dr Smith".into(), "taken".into())), "{states:?}");
    assert!(states.contains(&("Dr Jones".into(), "open".into())), "{states:?}");
    // A photograph of the text comes too late, and what it is told is why.
    let jones = net.provider("jones", "Dr Jones");
    assert_eq!(jones.fails(&["redeem", &one]), (1, "already-used".into()));

    martha.run(&["cancel", "Dr Jones"]);
    assert_eq!(jones.fails(&["redeem", &string(&other["code"])]), (1, "cancelled".into()));
    let late = martha.run(&["invite", "Dr Late", "--minutes", "0"]);
    assert_eq!(jones.fails(&["redeem", &string(&late["code"])]), (1, "expired".into()));

    let confirm = smith.command(&["confirm", "--words", &words]).spawn().unwrap();
    martha.run(&["accept", "--words", &words]);
    assert!(confirm.wait_with_output().unwrap().status.success());
    assert_eq!(jones.fails(&["redeem", &one]), (1, "already-used".into()));
    // Each that was turned away is a line of the audit.
    let audit = martha.run(&["audit", "--refused"]);
    assert!(audit["deeds"].as_array().unwrap().len() >= 2, "{audit}");
}

#[test]
fn m5_both_see_the_same_words_and_nothing_is_shared_before_the_patient_accepts() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    let code = string(&martha.run(&["invite", "Dr Smith"])["code"]);
    let words = string(&smith.run(&["redeem", &code])["words"]);
    assert_eq!(words.split(' ').count(), 6);
    let visitors = martha.run(&["people"])["visitors"].clone();
    assert_eq!((&visitors[0]["words"], &visitors[0]["claims"]), (&words.clone().into(), &"Dr Smith".into()));

    // The visitor's yes alone opens nothing.
    let early = smith.command(&["confirm", "--words", &words, "--wait", "1"]).output().unwrap();
    assert_eq!(refusal(&early), (3, "late".into()));
    assert_eq!(smith.run(&["patients"])["patients"].as_array().unwrap().len(), 0);
    // Words that differ end it.
    assert_eq!(
        martha.fails(&["accept", "--words", "six other words that nobody said"]),
        (1, "words-differ".into())
    );
    assert_eq!(smith.fails(&["confirm", "--words", &words]), (1, "nobody-waiting".into()));
    assert_eq!(martha.run(&["people"])["people"].as_array().unwrap().len(), 0);
}

#[test]
fn m6_m7_a_provider_reads_without_typing_ids_and_the_patient_sees_what_it_writes_live() {
    let net = Net::new();
    let (martha, _) = net.patient();
    martha.add("Allergic to penicillin");
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Allergic to penicillin", SOON);
    let patients = smith.run(&["patients"]);
    assert_eq!(patients["patients"][0]["name"], "Martha Jones");

    let entry = smith.add("Blood pressure 120/80");
    martha.until_text("Blood pressure 120/80", std::time::Duration::from_secs(3));
    let shown = martha.run(&["show", &entry]);
    let version = &shown["versions"][0];
    assert_eq!(
        (&version["author"]["name"], &version["author"]["role"]),
        (&"Dr Smith".into(), &"contributor".into())
    );
    // M10: when it came, and by whom.
    let key = string(&martha.run(&["people"])["people"][0]["key"]);
    assert_eq!((string(&version["author"]["key"]), string(&version["via"])), (key.clone(), key));
    assert!(version["received"].is_string() && version["doubtful_time"] == false);
}

#[test]
fn m9_a_revoked_provider_is_told_and_gets_nothing_new() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let mut smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    let note = string(&martha.run(&["revoke", "Dr Smith"])["note"]);
    assert!(note.contains("already has stays"), "{note}");
    smith.until(&["patients"], SOON, |list| list["patients"][0]["ended"] == true);
    martha.add("after the end");
    // It comes back after a restart with what it had, and with nothing else.
    smith.stop();
    smith.serve(&[]);
    assert!(smith.run(&["net"])["rooms"].as_array().unwrap().is_empty(), "it announces nothing any more");
    assert_eq!(smith.texts(), ["Patient: Martha Jones"]);
    assert_eq!(martha.run(&["people"])["people"][0]["state"], "revoked");
    assert!(martha.run(&["net"])["rooms"].as_array().unwrap().iter().all(|room| room["for"] != "share"));
}

#[test]
fn m19_both_write_while_apart_and_end_with_the_same() {
    let net = Net::new();
    let (martha, _) = net.patient();
    let smith = net.provider("smith", "Dr Smith");
    martha.share_with(&smith, "Dr Smith");
    smith.until_text("Patient: Martha Jones", SOON);
    martha.run(&["net", "--offline"]);
    for number in 0..20 {
        martha.add(&format!("Martha {number}"));
        smith.add(&format!("Smith {number}"));
    }
    martha.run(&["net", "--bootstrap", &net.bootstrap]);
    let begun = std::time::Instant::now();
    for person in [&martha, &smith] {
        person.until(&["list"], PATIENCE, |list| texts(list).len() == 41);
    }
    let state = |person: &crate::process::Person| string(&person.run(&["status"])["records"][0]["state"]);
    let same =
        martha.until(&["status"], PATIENCE, |status| string(&status["records"][0]["state"]) == state(&smith));
    assert_eq!(same["records"][0]["entries"], 41);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Passes every frame of two connections on, until the second ends.
async fn pass_on(mut one: node::Connection, mut other: node::Connection) {
    let (to_one, to_other) = (one.sender(), other.sender());
    loop {
        tokio::select! {
            frame = one.recv() => match frame {
                Some(frame) => to_other.send(&frame).await.unwrap(),
                None => return,
            },
            frame = other.recv() => match frame {
                Some(frame) => to_one.send(&frame).await.unwrap(),
                None => break,
            },
        }
    }
    // What was passed on last has to arrive.
    to_one.finish();
    while one.recv().await.is_some() {}
}

#[test]
fn m5_whoever_stands_between_with_the_code_is_found() {
    let (net, elsewhere) = (Net::new(), Net::new());
    let (martha, _) = net.patient();
    let code = string(&martha.run(&["invite", "Dr Smith"])["code"]);
    // The doctor is on a network where somebody else, who has seen the code, answers for the patient.
    let mut smith = elsewhere.nobody("smith");
    smith.serve(&[]);
    smith.run(&["init", "--provider", "--name", "Dr Smith", "--bootstrap", &elsewhere.bootstrap]);
    let waiting = chart::Invitation::parse(&code).unwrap().waiting_seed();
    let waiting = std::sync::Arc::new(node::Identity::from_seed(*waiting.expose()));
    let own = std::sync::Arc::new(node::Identity::from_seed([7; 32]));
    let (here, there) = (elsewhere.node(), net.node());
    let mut listener =
        elsewhere.runtime.block_on(here.serve(&waiting, node::ListenOptions::default())).unwrap();
    let between = net.runtime.spawn(async move {
        let one = listener.accept().await.unwrap();
        let mut attempts = 0;
        let other = loop {
            match there.connect(waiting.public_key(), &own, node::DialOptions::default()).await {
                Ok(connection) => break connection,
                Err(error) => assert!(attempts < 20, "{error}"),
            }
            attempts += 1;
        };
        pass_on(one, other).await;
        (here, there)
    });
    // The knock is bound to the connection that it was made on, so that the patient knows no such invitation.
    assert_eq!(smith.fails(&["redeem", &code]), (1, "no-invitation".into()));
    drop(net.runtime.block_on(between).unwrap());
    assert_eq!(martha.run(&["people"])["visitors"], serde_json::json!([]));
}
