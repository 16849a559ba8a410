use std::time::{Duration, Instant};

use pehr::hostile::Attack;
use pehr::{Draft, Request, Spoken, Verdict};
use serde_json::Value;

use super::stage::{Person, Stage, has, invitee, refusals, says, text};
use super::{Doing, Step, failed};
use crate::exit::Failed;

const LIST: Request = Request::List { record: None };
const AUDIT: Request = Request::Audit { record: None };
const PEOPLE: Request = Request::People { record: None };

/// What is promised of a share: within this a provider sees the record, after this a revoked one gets nothing.
const SOON: Duration = Duration::from_secs(5);
/// What is promised of a new entry.
const LIVE: Duration = Duration::from_secs(3);
/// For what takes a look-up.
const FOUND: Duration = Duration::from_secs(15);
/// Bytes of the file that is attached.
const FILE_LEN: usize = 5 << 20;

/// Fails a step that did not go as it should.
macro_rules! check {
    ($is_so:expr, $otherwise:expr $(,)?) => {
        if $is_so { Ok(()) } else { Err(failed($otherwise)) }
    };
}

macro_rules! step {
    ($name:literal, at_once $run:ident) => {
        Step { name: $name, run: |stage| -> Doing<'_> { Box::pin(std::future::ready($run(stage))) } }
    };
    ($name:literal, $run:ident) => {
        Step { name: $name, run: |stage| -> Doing<'_> { Box::pin($run(stage)) } }
    };
}

pub(super) const STEPS: &[Step] = &[
    step!("before a profile no packet is sent", quiet),
    step!("Martha makes a record", patient),
    step!("Dr Smith and a stranger make profiles", at_once providers),
    step!("each invitation is another", invitations),
    step!("an expired and a cancelled invitation are refused", refused_invitations),
    step!("Dr Smith redeems: both see the same six words", redeem),
    step!("before Martha accepts Dr Smith has nothing", nothing_yet),
    step!("Martha accepts: Dr Smith sees her by name, with all entries", accept),
    step!("the same invitation is refused to a stranger", used_invitation),
    step!("a leaked invitation alone gives nothing", leaked_invitation),
    step!("Dr Smith writes, and Martha sees it", write),
    step!("Martha corrects an entry, and both versions stay", amend),
    step!("Dr Smith cannot change what Martha said", not_yours),
    step!("a file goes from Dr Smith to Martha", attachment),
    step!("a hostile provider is let in like any other", let_in),
    step!("whatever it forges is refused, and Martha sees by whom", attacks),
    step!("Martha still owns her record", still_owner),
    step!("revoked while connected, it gets nothing new", revoke),
    step!("a forged entry in Martha's name is turned away, and she sees by whom", impersonate),
    step!("after a power cut everything is there, and they meet again", power_cut),
    step!("Dr Smith is revoked, and does not come back", revoke_smith),
    step!("a wrong passphrase opens nothing, and nothing lies open on the disk", at_once at_rest),
];

/// Expects a refusal of a kind.
fn refused(outcome: Result<Value, Failed>, codes: &[&str]) -> Result<String, Failed> {
    match outcome {
        Err(failed) if codes.contains(&failed.code.as_str()) => Ok(failed.message),
        Err(other) => Err(failed(format_args!("refused otherwise: {} ({})", other.message, other.code))),
        Ok(answer) => Err(failed(format_args!("was allowed: {answer}"))),
    }
}

fn redeeming(code: String) -> Request {
    Request::Redeem { code: Spoken(code), wait: 15 }
}

async fn quiet(stage: &mut Stage) -> Result<String, Failed> {
    std::fs::create_dir_all(stage.folder())?;
    let person = &mut stage.newcomer;
    person.start_with("")?;
    let status = person.ask(Request::Status).await?;
    check!(status["profile"] == "none" && person.udp_sockets()? == 0, status)?;
    person.kill()?;
    Ok("no UDP socket is open".into())
}

async fn patient(stage: &mut Stage) -> Result<String, Failed> {
    let made = stage.enrol(
        |stage| &mut stage.patient,
        &["--patient", "--name", "Martha Jones", "--born", "1950-02-28"],
    )?;
    check!(text(&made["phrase"]).split_whitespace().count() == 24, "no phrase of 24 words")?;
    stage.notes.insert("key", text(&made["key"]));
    let added = stage.patient.ask(says("Allergic to penicillin")).await?;
    stage.notes.insert("allergy", text(&added["entry"]));
    stage.patient.ask(says("Headache since Monday")).await?;
    check!(stage.patient.udp_sockets()? > 0, "it is not on the network")?;
    Ok("24 words for paper, two entries, on the network".into())
}

fn providers(stage: &mut Stage) -> Result<String, Failed> {
    stage.enrol(|stage| &mut stage.smith, &["--provider", "--name", "Dr Smith"])?;
    stage.enrol(|stage| &mut stage.stranger, &["--provider", "--name", "Dr Smith"])?;
    Ok("the stranger calls itself Dr Smith, too".into())
}

async fn invitations(stage: &mut Stage) -> Result<String, Failed> {
    let one = stage.patient.ask(invitee("Dr Smith", 60)).await?;
    let other = stage.patient.ask(invitee("Dr Jones", 60)).await?;
    let (one, other) = (text(&one["code"]), text(&other["code"]));
    check!(one != other && one.len() <= 200, "the invitations are the same, or long")?;
    let len = one.len();
    stage.notes.insert("smith", one);
    stage.notes.insert("jones", other);
    Ok(format!("{len} characters each"))
}

async fn refused_invitations(stage: &mut Stage) -> Result<String, Failed> {
    let expired = stage.patient.ask(invitee("Late", 0)).await?;
    let late = refused(stage.stranger.ask(redeeming(text(&expired["code"]))).await, &["expired"])?;
    let jones = stage.note("jones");
    stage.patient.ask(Request::Cancel { invitation: "Dr Jones".into() }).await?;
    let cancelled = refused(stage.stranger.ask(redeeming(jones)).await, &["cancelled"])?;
    Ok(format!("{late}; {cancelled}"))
}

async fn redeem(stage: &mut Stage) -> Result<String, Failed> {
    let here = stage.smith.ask(redeeming(stage.note("smith"))).await?;
    let there = stage.patient.ask(Request::Visitors { wait: 10 }).await?;
    let there = &there["visitors"][0];
    check!(here["words"] == there["words"], "the words differ")?;
    check!(there["claims"] == "Dr Smith" && there["name"] == "Dr Smith", there)?;
    Ok(text(&here["words"]))
}

async fn nothing_yet(stage: &mut Stage) -> Result<String, Failed> {
    let patients = stage.smith.ask(Request::Patients).await?;
    check!(patients["patients"].as_array().is_some_and(Vec::is_empty), patients)?;
    Ok("no record".into())
}

async fn let_in_smith(patient: &Person, smith: &Person) -> Result<(), Failed> {
    let confirm = smith.ask(Request::Confirm { verdict: Verdict::Yes, wait: 15 });
    let accept = patient.ask(Request::Accept { invitation: None, verdict: Verdict::Yes });
    let (confirmed, accepted) = tokio::join!(confirm, accept);
    confirmed.and(accepted).map(drop)
}

async fn accept(stage: &mut Stage) -> Result<String, Failed> {
    let begun = Instant::now();
    let_in_smith(&stage.patient, &stage.smith).await?;
    let all = |list: &Value| {
        ["Patient: Martha Jones", "Allergic to penicillin", "Headache since Monday"]
            .iter()
            .all(|text| has(list, text))
    };
    stage.smith.until(LIST, SOON, all).await?;
    let patients = stage.smith.ask(Request::Patients).await?;
    check!(patients["patients"][0]["name"] == "Martha Jones", patients)?;
    check!(begun.elapsed() < SOON, "it took too long")?;
    Ok(format!("{:.2} s after accepting", begun.elapsed().as_secs_f64()))
}

async fn used_invitation(stage: &mut Stage) -> Result<String, Failed> {
    refused(stage.stranger.ask(redeeming(stage.note("smith"))).await, &["already-used"])
}

async fn leaked_invitation(stage: &mut Stage) -> Result<String, Failed> {
    let invited = stage.patient.ask(invitee("Dr Jones", 60)).await?;
    stage.stranger.ask(redeeming(text(&invited["code"]))).await?;
    stage.patient.ask(Request::Visitors { wait: 10 }).await?;
    let confirm = stage.stranger.ask(Request::Confirm { verdict: Verdict::Yes, wait: 15 });
    let no = stage.patient.ask(Request::Accept { invitation: None, verdict: Verdict::No });
    let (confirmed, said) = tokio::join!(confirm, no);
    said?;
    let why = refused(confirmed, &["declined"])?;
    let patients = stage.stranger.ask(Request::Patients).await?;
    check!(patients["patients"].as_array().is_some_and(Vec::is_empty), patients)?;
    Ok(why)
}

async fn write(stage: &mut Stage) -> Result<String, Failed> {
    stage.smith.ask(says("Tension headache, no treatment")).await?;
    let arrived = |list: &Value| has(list, "Tension headache, no treatment");
    let (list, took) = stage.patient.until(LIST, LIVE, arrived).await?;
    let entries = list["entries"].as_array().cloned().unwrap_or_default();
    let entry = entries.into_iter().find(|entry| entry["text"] == "Tension headache, no treatment");
    let entry = entry.unwrap_or_default();
    check!(entry["author"]["name"] == "Dr Smith" && entry["author"]["role"] == "contributor", &entry)?;
    stage.notes.insert("headache", text(&entry["entry"]));
    Ok(format!("{:.2} s later, as Dr Smith's", took.as_secs_f64()))
}

async fn amend(stage: &mut Stage) -> Result<String, Failed> {
    let draft = Draft {
        kind: "note".into(),
        media_type: "text/plain".into(),
        body: "Allergic to penicillin: rash".into(),
        reason: "the reaction was missing".into(),
    };
    let entry = stage.note("allergy");
    stage.patient.ask(Request::Amend { record: None, entry: entry.clone(), draft }).await?;
    let both = |history: &Value| history["versions"].as_array().is_some_and(|versions| versions.len() == 2);
    let history = Request::History { record: None, entry };
    let (history, took) = stage.smith.until(history, LIVE, both).await?;
    check!(history["versions"][1]["said"]["reason"] == "the reaction was missing", &history)?;
    Ok(format!("{:.2} s later, two versions and the reason", took.as_secs_f64()))
}

async fn not_yours(stage: &mut Stage) -> Result<String, Failed> {
    let entry = stage.note("allergy");
    refused(
        stage.smith.ask(Request::Retract { record: None, entry, reason: "no".into() }).await,
        &["refused"],
    )
}

async fn attachment(stage: &mut Stage) -> Result<String, Failed> {
    let (from, to) = (stage.folder().join("scan.bin"), stage.folder().join("copy.bin"));
    let bytes: Vec<u8> = (0..FILE_LEN).map(|at| u8::try_from(at * at % 251).unwrap_or(0)).collect();
    std::fs::write(&from, &bytes)?;
    let attach = Request::Attach {
        record: None,
        path: from,
        media_type: "application/octet-stream".into(),
        reason: "a scan".into(),
    };
    let entry = text(&stage.smith.ask(attach).await?["entry"]);
    let show = Request::Show { record: None, entry: entry.clone() };
    stage
        .patient
        .until(show, LIVE, |shown| shown["versions"][0]["said"]["files"][0]["bytes"] == FILE_LEN)
        .await?;
    let begun = Instant::now();
    stage.patient.ask(Request::Fetch { record: None, entry, number: 0, to: to.clone() }).await?;
    check!(std::fs::read(to)? == bytes, "the copy is another")?;
    Ok(format!("5 MiB in {:.2} s", begun.elapsed().as_secs_f64()))
}

async fn let_in(stage: &mut Stage) -> Result<String, Failed> {
    let code = text(&stage.patient.ask(invitee("Dr Evil", 60)).await?["code"]);
    let hostile = stage.raise_hostile().await?;
    let words = hostile.redeem(&code, "Dr Evil").await.map_err(failed)?;
    let there = stage.patient.ask(Request::Visitors { wait: 10 }).await?;
    check!(there["visitors"][0]["words"] == words, "the words differ")?;
    stage.patient.ask(Request::Accept { invitation: None, verdict: Verdict::Yes }).await?;
    let hostile = stage.hostile.as_mut().ok_or_else(|| failed("nobody is hostile"))?;
    hostile.confirm().await.map_err(failed)?;
    hostile.listen(Duration::from_millis(1_500)).await.map_err(failed)?;
    let texts = hostile.texts().map_err(failed)?;
    check!(texts.iter().any(|text| text == "Allergic to penicillin: rash"), "it reads nothing")?;
    Ok(format!("it reads {} entries", texts.len()))
}

async fn attacks(stage: &mut Stage) -> Result<String, Failed> {
    let before = stage.patient.ask(Request::Status).await?;
    let hostile = stage.hostile.as_mut().ok_or_else(|| failed("nobody is hostile"))?;
    let key = hostile.key().to_string();
    let forged: Vec<Attack> =
        Attack::ALL.into_iter().filter(|attack| *attack != Attack::Impersonate).collect();
    for attack in &forged {
        hostile.try_to(*attack).await.map_err(failed)?;
        hostile.listen(Duration::from_millis(50)).await.map_err(failed)?;
    }
    let all = |audit: &Value| {
        refusals(audit).iter().filter(|deed| deed["key"] == key.as_str()).count() == forged.len()
    };
    let (audit, _) = stage.patient.until(AUDIT, LIVE, all).await?;
    let whys: std::collections::BTreeSet<String> =
        refusals(&audit).iter().map(|deed| text(&deed["refused"])).collect();
    let after = stage.patient.ask(Request::Status).await?;
    check!(before["records"][0]["entries"] == after["records"][0]["entries"], "an entry came or went")?;
    let whys: Vec<String> = whys.into_iter().collect();
    Ok(format!("{} refused: {}", forged.len(), whys.join("; ")))
}

async fn still_owner(stage: &mut Stage) -> Result<String, Failed> {
    let status = stage.patient.ask(Request::Status).await?;
    check!(status["records"][0]["owner"] == true, &status)?;
    let entry = stage.note("allergy");
    let shown = stage.patient.ask(Request::Show { record: None, entry }).await?;
    check!(shown["versions"][0]["said"]["body"] == "Allergic to penicillin: rash", shown)?;
    stage.patient.ask(says("I can still write")).await?;
    Ok("her entries are as she wrote them, and she writes".into())
}

async fn revoke(stage: &mut Stage) -> Result<String, Failed> {
    stage.patient.ask(Request::Revoke { person: "Dr Evil".into() }).await?;
    let hostile = stage.hostile.as_mut().ok_or_else(|| failed("nobody is hostile"))?;
    let begun = Instant::now();
    hostile.listen(SOON).await.map_err(failed)?;
    let told = begun.elapsed();
    let before = hostile.received;
    check!(hostile.ended == Some(chart::Bye::Revoked), format_args!("it was told {:?}", hostile.ended))?;
    stage.patient.ask(says("Not for Dr Evil")).await?;
    stage.smith.until(LIST, LIVE, |list| has(list, "Not for Dr Evil")).await?;
    hostile.listen(Duration::from_millis(300)).await.map_err(failed)?;
    check!(hostile.received == before, "more bytes came")?;
    check!(
        !hostile.texts().map_err(failed)?.iter().any(|text| text == "Not for Dr Evil"),
        "it reads what is new",
    )?;
    Ok(format!("cut off after {:.2} s; 0 bytes since", told.as_secs_f64()))
}

async fn impersonate(stage: &mut Stage) -> Result<String, Failed> {
    let_in(stage).await?;
    let hostile = stage.hostile.as_mut().ok_or_else(|| failed("nobody is hostile"))?;
    let key = hostile.key().to_string();
    hostile.try_to(Attack::Impersonate).await.map_err(failed)?;
    hostile.listen(SOON).await.map_err(failed)?;
    check!(hostile.ended == Some(chart::Bye::Offence), format_args!("it was told {:?}", hostile.ended))?;
    let named = |audit: &Value| {
        audit["deeds"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|deed| deed["did"] == "refused" && deed["about"] == key.as_str())
    };
    stage.patient.until(AUDIT, LIVE, named).await?;
    Ok("the connection was ended, and the audit names the key".into())
}

async fn power_cut(stage: &mut Stage) -> Result<String, Failed> {
    stage.patient.ask(says("Written before the power cut")).await?;
    stage.patient.kill()?;
    stage.smith.ask(says("Written while Martha was away")).await?;
    stage.patient.start()?;
    let list = stage.patient.ask(LIST).await?;
    check!(has(&list, "Written before the power cut"), "an entry was lost")?;
    let arrived = |list: &Value| has(list, "Written while Martha was away");
    let (_, took) = stage.patient.until(LIST, FOUND, arrived).await?;
    Ok(format!("they met {:.2} s after the start, without a new invitation", took.as_secs_f64()))
}

async fn revoke_smith(stage: &mut Stage) -> Result<String, Failed> {
    stage.patient.ask(Request::Revoke { person: "Dr Smith".into() }).await?;
    let over = |patients: &Value| patients["patients"][0]["ended"] == true;
    let (_, took) = stage.smith.until(Request::Patients, SOON, over).await?;
    stage.patient.ask(says("Not for Dr Smith")).await?;
    stage.smith.kill()?;
    stage.smith.start()?;
    let people = stage.patient.ask(PEOPLE).await?;
    let states: Vec<String> =
        people["people"].as_array().into_iter().flatten().map(|person| text(&person["state"])).collect();
    check!(states.iter().filter(|state| *state == "revoked").count() == 2, people)?;
    check!(!has(&stage.smith.ask(LIST).await?, "Not for Dr Smith"), "it came through")?;
    Ok(format!("told after {:.2} s; what was copied stays with Dr Smith", took.as_secs_f64()))
}

fn at_rest(stage: &mut Stage) -> Result<String, Failed> {
    stage.patient.kill()?;
    let wrong = stage.patient.start_with("something else");
    let why = refused(wrong.map(|()| Value::Null), &["wrong-passphrase"])?;
    for sentinel in ["Martha", "penicillin", "Smith", "1950"] {
        check!(stage.patient.files_with(sentinel)? == 0, format_args!("{sentinel} stands in a file"))?;
    }
    Ok(why)
}
