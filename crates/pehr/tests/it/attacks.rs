//! What an invited provider could do to the patient of the original.

use std::time::Duration;

use pehr::hostile::{Attack, Hostile};
use serde_json::Value;

use crate::process::{Net, Person, SOON, string};

struct Scene {
    net: Net,
    martha: Person,
    hostile: Hostile,
    entry: String,
}

fn scene() -> Scene {
    let net = Net::new();
    let (martha, _) = net.patient();
    let entry = martha.add("Allergic to penicillin");
    let code = string(&martha.run(&["invite", "Dr Evil"])["code"]);
    let mut hostile = Hostile::new(net.node(), &net.folder.join("hostile")).unwrap();
    let words = net.runtime.block_on(hostile.redeem(&code, "Dr Evil")).unwrap();
    martha.run(&["accept", "--words", &words]);
    net.runtime.block_on(async {
        hostile.confirm().await.unwrap();
        hostile.listen(Duration::from_secs(1)).await.unwrap();
    });
    assert!(hostile.texts().unwrap().contains(&"Allergic to penicillin".to_owned()));
    Scene { net, martha, hostile, entry }
}

impl Scene {
    /// Tries something, and waits until the patient's audit shows it as refused, by the key that signed it.
    fn refuses(&mut self, attack: Attack, why: &str) {
        let key = self.hostile.key().to_string();
        self.net.runtime.block_on(self.hostile.try_to(attack)).unwrap();
        // The patient's own log keeps that it was refused.
        let noted = |deed: &Value| deed["did"] == "refused" && deed["role"] == "owner";
        self.martha.until(&["audit", "--refused"], SOON, |audit| {
            let deeds = audit["deeds"].as_array().unwrap();
            let refused = |deed: &Value| deed["key"] == key.as_str() && deed["refused"] == why;
            deeds.iter().any(refused) && deeds.iter().any(noted)
        });
    }

    fn is_as_it_was(&self) {
        let shown = self.martha.run(&["show", &self.entry]);
        assert_eq!(shown["heads"], 1);
        assert_eq!(shown["versions"][0]["said"]["body"], "Allergic to penicillin");
        let status = self.martha.run(&["status"]);
        assert_eq!(status["records"][0]["owner"], true);
        assert_eq!(self.martha.run(&["device", "list"])["devices"].as_array().unwrap().len(), 1);
        self.martha.add("the patient still writes");
    }
}

#[test]
fn m8_overwriting_and_deleting_the_patients_entry_is_refused() {
    let mut scene = scene();
    scene.refuses(Attack::Overwrite, "the entry is another's");
    scene.refuses(Attack::Delete, "the entry is another's");
    scene.refuses(Attack::Erase, "only the owner may do this");
    scene.is_as_it_was();
}

#[test]
fn m8_the_patient_cannot_be_evicted_nor_another_become_owner() {
    let mut scene = scene();
    scene.refuses(Attack::Evict, "an owner cannot be revoked");
    scene.refuses(Attack::RemoveDevice, "the root did not sign this");
    scene.refuses(Attack::BecomeOwner, "the root did not sign this");
    scene.refuses(Attack::LetIn, "only the owner may do this");
    scene.is_as_it_was();
}

#[test]
fn m8_writing_in_the_patients_name_is_turned_away_and_ends_the_connection() {
    let mut scene = scene();
    let key = scene.hostile.key().to_string();
    scene.net.runtime.block_on(async {
        scene.hostile.try_to(Attack::Impersonate).await.unwrap();
        scene.hostile.listen(SOON).await.unwrap();
    });
    assert_eq!(scene.hostile.ended, Some(chart::Bye::Offence));
    let warned = |audit: &Value| {
        let warnings = audit["warnings"].as_array().unwrap();
        warnings.iter().any(|warning| warning.as_str().unwrap().contains(&key))
    };
    let audit = scene.martha.until(&["audit", "--refused"], SOON, warned);
    // It outlives the process: the patient's log names the key.
    assert!(audit["deeds"].as_array().unwrap().iter().any(|deed| deed["about"] == key.as_str()), "{audit}");
    scene.is_as_it_was();
}

#[test]
fn m9_while_connected_not_one_record_byte_reaches_whoever_was_revoked() {
    let Scene { net, martha, mut hostile, .. } = scene();
    let begun = std::time::Instant::now();
    martha.run(&["revoke", "Dr Evil"]);
    net.runtime.block_on(hostile.listen(SOON)).unwrap();
    let cut = begun.elapsed();
    assert_eq!(hostile.ended, Some(chart::Bye::Revoked));
    assert!(cut < SOON, "{cut:?}");
    let received = hostile.received;
    for number in 0..10 {
        martha.add(&format!("not for Dr Evil {number}"));
    }
    net.runtime.block_on(hostile.listen(Duration::from_secs(1))).unwrap();
    assert_eq!(hostile.received, received);
    assert!(!hostile.texts().unwrap().iter().any(|text| text.starts_with("not for")));
}
