use arbtest::arbtest;
use monitor::words::{Cause, Standing, Tone, company, judge, nat};
use node::{Config, Node, Snapshot};
use serde_json::{Value, json};

use crate::world::soon;

/// States tried.
const STATES: usize = 10_000;

async fn template() -> Value {
    let node = Node::spawn(Config::testnet(Vec::new())).await.unwrap();
    soon(node.ready()).await.unwrap();
    serde_json::to_value(node.snapshot().await.unwrap()).unwrap()
}

#[tokio::test]
async fn no_state_is_called_good_without_fresh_evidence_from_outside() {
    let template = template().await;
    let mut tried = 0;
    let mut good = 0;
    while tried < STATES {
        arbtest(|u| {
            let mut state = template.clone();
            for flag in
                ["randomized", "firewalled", "ephemeral", "bootstrapped", "suspended", "online", "degraded"]
            {
                state["state"][flag] = json!(u.arbitrary::<bool>()?);
            }
            let host = u.choose(&[Value::Null, json!("127.0.0.1"), json!("203.0.113.9")])?.clone();
            state["state"]["host"] = host;
            state["state"]["port"] = u.choose(&[Value::Null, json!(4000)])?.clone();
            state["nodes"]["known"] = json!(u.choose(&[0, 1, 20, 400])?);
            state["entering"]["named"] = json!(u.choose(&[0, 1, 3])?);
            let (answered, belief) = (
                u.choose(&[Value::Null, json!(0), json!(4_000), json!(200_000), json!(86_400_000)])?.clone(),
                *u.choose(&["closed", "assumed", "proven"])?,
            );
            state["reachability"]["answered_ms_ago"] = answered.clone();
            state["reachability"]["openness"] = json!(belief);
            let samples = u.choose(&[0, 2, 4, 16])?;
            state["reachability"]["samples"] = json!(vec!["203.0.113.9:4000"; *samples]);
            let snapshot: Snapshot = serde_json::from_value(state.clone()).unwrap();
            let verdict = judge(&snapshot);
            if verdict.tone == Tone::Good {
                good += 1;
                let flag = |name: &str| state["state"][name].as_bool().unwrap();
                assert!(flag("bootstrapped") && flag("online") && !flag("degraded") && !flag("suspended"));
                assert!(answered.as_u64().is_some_and(|ago| ago < 200_000), "{verdict:?}");
                assert!(state["nodes"]["known"] != 0, "{verdict:?}");
                assert!(belief == "proven" || *samples >= 4, "{verdict:?}");
                assert!(belief != "assumed", "{verdict:?}");
            }
            tried += 1;
            Ok(())
        })
        .budget_ms(300);
    }
    assert!(good > STATES / 1000, "only {good} of {tried} states were good");
}

#[tokio::test]
async fn each_way_to_be_cut_off_has_its_cause() {
    let mut state = template().await;
    state["state"]["bootstrapped"] = json!(true);
    state["entering"]["named"] = json!(3);
    let judged = |state: &Value| judge(&serde_json::from_value(state.clone()).unwrap());
    let lost = judged(&state);
    assert_eq!((lost.standing, lost.cause), (Standing::Offline, Some(Cause::BootstrapUnreachable)));
    state["entering"]["unresolved"] = json!(3);
    assert_eq!(judged(&state).cause, Some(Cause::DnsFail));
    for socket in state["sockets"].as_array_mut().unwrap() {
        socket["local"] = json!("0.0.0.0:4000");
    }
    state["state"]["interfaces"] = json!([]);
    assert_eq!(judged(&state).cause, Some(Cause::NetDown));
}

#[tokio::test]
async fn the_kind_of_address_translation_is_told_with_its_witnesses() {
    let mut state = template().await;
    state["state"]["host"] = json!("203.0.113.9");
    state["reachability"]["samples"] = json!(["203.0.113.9:1", "203.0.113.9:1", "203.0.113.9:2"]);
    let told = |state: &Value| nat(&serde_json::from_value(state.clone()).unwrap()).sentence();
    assert_eq!(told(&state), "3 observers see one address and another port each");
    state["state"]["port"] = json!(1);
    assert_eq!(told(&state), "2 of 3 observers see one address and port");
    state["state"]["interfaces"] = json!(["203.0.113.9"]);
    assert_eq!(told(&state), "2 of 3 observers see this computer's own address");
    state["state"]["host"] = Value::Null;
    assert_eq!(told(&state), "3 observers do not agree on our address yet");
}

/// A peer's row, and whether what it says makes the company good.
fn peer(u: &mut arbtest::arbitrary::Unstructured<'_>, n: u8) -> arbtest::arbitrary::Result<(Value, bool)> {
    let state = *u.choose(&["connected", "on-trial", "connecting", "queued", "waiting", "idle"])?;
    let path = *u.choose(&["direct", "lan", "punched", "relayed"])?;
    let frames = *u.choose(&[0_u64, 1, 900])?;
    let linked = matches!(state, "connected" | "on-trial");
    let traffic = json!({"packets_in": 3, "bytes_in": 300, "packets_out": 3, "bytes_out": 300});
    let link = json!({
        "id": n, "incoming": u.arbitrary::<bool>()?, "path": path, "punch": Value::Null,
        "address": "203.0.113.9:4000", "open_ms": 1, "took_ms": 1, "round_trip_ms": Value::Null, "traffic": traffic,
        "frames_in": frames, "frames_out": 1, "retransmits": 0, "timeouts": 0, "fast_recoveries": 0, "mtu": 1200,
        "window": 10,
    });
    let failure =
        json!({"step": "punch", "reason": "no-path", "text": "the hole punch was given up", "ms_ago": 5});
    let row = json!({
        "key": format!("{:064x}", n), "local": Value::Null, "state": state, "state_ms": 1, "next_in_ms": Value::Null,
        "topics": [], "attempts": Value::Null, "failure": if u.arbitrary()? { failure } else { Value::Null },
        "link": if linked { link } else { Value::Null },
    });
    Ok((row, state == "connected" && frames > 0 && path != "relayed"))
}

#[tokio::test]
async fn no_company_is_called_good_without_a_peer_that_proved_to_be_there() {
    let template = template().await;
    let (mut tried, mut good) = (0, 0);
    while tried < STATES {
        arbtest(|u| {
            let mut state = template.clone();
            let suspended = u.ratio(1, 8)?;
            state["state"]["suspended"] = json!(suspended);
            let mut proven = 0;
            let mut paths = json!({"direct": 0, "lan": 0, "punched": 0, "relayed": 0});
            let (mut connected, mut rows) = (0, Vec::new());
            for n in 0..u.int_in_range(0..=4_u8)? {
                let (row, proves) = peer(u, n)?;
                proven += usize::from(proves);
                if row["state"] == "connected" {
                    connected += 1;
                    let path = row["link"]["path"].as_str().unwrap().to_owned();
                    paths[&path] = json!(paths[&path].as_u64().unwrap() + 1);
                }
                rows.push(row);
            }
            state["peers"]["known"] = json!(rows.len());
            state["peers"]["connected"] = json!(connected);
            state["connections"]["open"] = json!(connected);
            state["connections"]["paths"] = paths;
            state["peers"]["list"] = json!(rows);
            // The more nodes, the less they say of peers.
            state["nodes"]["known"] = json!(u.choose(&[0, 20, 400])?);
            let verdict = company(&serde_json::from_value(state).unwrap());
            if verdict.tone == Tone::Good {
                good += 1;
                assert!(proven > 0 && !suspended, "{verdict:?}");
            } else {
                assert!(proven == 0 || suspended, "{verdict:?}");
            }
            tried += 1;
            Ok(())
        })
        .budget_ms(300);
    }
    assert!(good > STATES / 100, "only {good} of {tried} states were good");
}
