//! Invitations and device codes from the side that redeems them, and those who wait for what becomes of them.

use std::time::{Duration, Instant};

use chart::{
    Declined, Digest, Genesis, Identity, Invitation, LinkId, PairingState, RecordId, Root, Secret,
    UnixMillis, Visit,
};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};
use vault::Standing;

use crate::desk::{Open, Reply, Talk, answer, now};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::job::Job;
use crate::request::{Answer, Verdict};
use crate::rooms::Place;

/// Invitations that are redeemed at a time; the oldest makes room.
const CALLS_MAX: usize = 16;
/// Requests that wait for something.
const WAITS_MAX: usize = 128;
/// Letters of a device code, far above what one has.
const CODE_MAX: usize = 512;
const PREFIX: &str = "pehr-device:";
const VERSION: u8 = 1;
const MINUTE: u64 = 60_000;

/// What became of a redeemed invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Member(RecordId),
    Declined(Declined),
    NobodyThere,
    Parted,
}

/// An invitation that we redeem.
#[derive(Debug)]
pub(crate) struct Call {
    code: Invitation,
    seed: Secret,
    pub(crate) machine: Option<Visit>,
    pub(crate) link: Option<LinkId>,
    outcome: Option<Outcome>,
}

impl Call {
    pub(crate) fn begin(&mut self, link: LinkId, binding: [u8; 32], name: String) -> Result<(), Failure> {
        let identity = Identity::from_seed(&self.seed);
        self.machine = Some(Visit::new(self.code.clone(), binding, identity, name, &vault::draw()?));
        self.link = Some(link);
        Ok(())
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    fn words(&self) -> Option<String> {
        match self.machine.as_ref()?.state() {
            PairingState::Compare(words) => Some(words.to_string()),
            _ => None,
        }
    }

    /// Says how it ended, if it has.
    fn verdict(&self) -> Option<Result<Value, Failure>> {
        Some(match self.outcome? {
            Outcome::Member(record) => Ok(json!({"record": record.to_string()})),
            Outcome::Declined(why) => Err(why.into()),
            Outcome::NobodyThere => Err(Failure::NobodyThere),
            Outcome::Parted => Err(Failure::Parted),
        })
    }
}

/// Somebody who asked for what has not happened yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    until: Option<Instant>,
    what: Awaited,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
enum Awaited {
    /// The six words of a visit of ours.
    Words(u32),
    /// To be welcome.
    Welcome(u32),
    /// A visitor to one of our invitations.
    Visitor,
    /// The parts of an attachment.
    Blob(Digest, Box<Job>),
}

impl Waiting {
    pub(crate) fn for_blob(root: Digest, job: Job) -> Self {
        Self { until: None, reply: job.reply.clone(), what: Awaited::Blob(root, Box::new(job)) }
    }
}

/// What a new device of an owner is given: which record, and where it is waited for. It gives nothing without the phrase.
///
/// ```text
/// bytes: | version 1 | genesis 89 | secret 16 | issuer 32 | expires, minutes since 1970 u32le | check 4 |
/// text:  pehr-device: and the bytes in base 32 (RFC 4648, no padding); the check is the beginning of a hash
/// ```
#[derive(Debug)]
pub(crate) struct DeviceCode {
    pub(crate) genesis: Genesis,
    secret: [u8; 16],
    pub(crate) issuer: chart::AuthorKey,
    pub(crate) expires: UnixMillis,
}

impl DeviceCode {
    /// The seed of the key under which the issuer waits.
    pub(crate) fn seed(&self) -> [u8; 32] {
        node::hash(&[&b"homing pehr device"[..], &self.secret].concat()).0
    }

    fn text(&self) -> String {
        let minutes = u32::try_from(self.expires.0 / MINUTE).unwrap_or(u32::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(self.genesis.encode());
        bytes.extend(self.secret);
        bytes.extend(self.issuer.0);
        bytes.extend(minutes.to_le_bytes());
        let check = node::hash(&bytes);
        bytes.extend(&check.0[..4]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        Self::read(text).ok_or(Failure::Invalid { what: "the code", wanted: "what pehr device code printed" })
    }

    fn read(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).take(CODE_MAX).collect();
        let (prefix, code) = plain.split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(code.to_ascii_uppercase().as_bytes()).ok()?;
        let (body, check) = bytes.split_last_chunk::<4>()?;
        if !node::hash(body).0.starts_with(check) {
            return None;
        }
        let (version, rest) = body.split_first()?;
        let (rest, minutes) = rest.split_last_chunk::<4>()?;
        let (rest, issuer) = rest.split_last_chunk::<32>()?;
        let (genesis, secret) = rest.split_last_chunk::<16>()?;
        let genesis = Genesis::decode(genesis).ok().filter(|_| *version == VERSION)?;
        let expires = UnixMillis(u64::from(u32::from_le_bytes(*minutes)) * MINUTE);
        Some(Self { genesis, secret: *secret, issuer: chart::AuthorKey(*issuer), expires })
    }
}

impl Open {
    /// Looks for whoever issued an invitation; answers with the six words.
    pub(crate) fn redeem(&mut self, code: &str, wait: u32, reply: Reply) {
        let begun = Invitation::parse(code)
            .map_err(|_| Failure::Invalid {
                what: "the invitation",
                wanted: "the whole text, as it was given to you",
            })
            .and_then(|code| self.call(code));
        match begun {
            Ok(number) => self.wait(wait, Awaited::Words(number), reply),
            Err(failure) => answer(&reply, Err(failure)),
        }
    }

    fn call(&mut self, code: Invitation) -> Result<u32, Failure> {
        if code.expires <= now().wall {
            return Err(Declined::Expired.into());
        }
        while self.calls.len() >= CALLS_MAX {
            self.calls.pop_first();
        }
        let number = self.calls.last_key_value().map_or(1, |(number, _)| number + 1);
        self.knock(Place::Visit(number), *code.waiting_seed().expose())?;
        let call = Call { code, seed: vault::draw()?, machine: None, link: None, outcome: None };
        self.calls.insert(number, call);
        Ok(number)
    }

    /// Says of the latest visit whether the words were the same; answers once we are a member.
    pub(crate) fn confirm(&mut self, verdict: Verdict, wait: u32, reply: Reply) {
        let latest = self
            .calls
            .iter_mut()
            .next_back()
            .filter(|(_, call)| call.words().is_some() || call.outcome.is_some());
        let Some((number, call)) = latest else {
            return answer(&reply, Err(Failure::NobodyWaiting));
        };
        let (Verdict::Yes, Some(machine)) = (verdict, call.machine.as_mut()) else {
            call.end(Outcome::Declined(Declined::ByPerson));
            if let Some(link) = call.link {
                self.hang_up(link);
            }
            return answer(&reply, Ok(json!({"stopped": true})));
        };
        machine.confirm();
        let number = *number;
        self.wait(wait, Awaited::Welcome(number), reply);
    }

    /// The six words of the latest visit.
    pub(crate) fn words(&self) -> Result<Value, Failure> {
        let words = self.calls.values().next_back().and_then(Call::words);
        Ok(json!({"words": words.ok_or(Failure::NobodyWaiting)?}))
    }

    pub(crate) fn visitors(&mut self, wait: u32, reply: Reply) {
        self.wait(wait, Awaited::Visitor, reply);
    }

    fn wait(&mut self, seconds: u32, what: Awaited, reply: Reply) {
        if self.waits.len() >= WAITS_MAX {
            return answer(&reply, Err(Failure::Late));
        }
        let until = Some(now().instant + Duration::from_secs(u64::from(seconds)));
        self.waits.push(Waiting { until, what, reply });
    }

    /// We have been made a member: what we are goes into the vault before anything else.
    pub(crate) fn become_member(&mut self, number: u32, record: RecordId) -> Result<(), Failure> {
        let Some(call) = self.calls.get_mut(&number) else { return Ok(()) };
        if self.folders.contains_key(&record) {
            // A second membership of one record has no place here: the first is kept.
            call.end(Outcome::Declined(Declined::AlreadyUsed));
            return Ok(());
        }
        let mut chart = self.vault.join(record, call.seed.clone(), Standing::Member)?;
        chart.introduce(call.code.issuer);
        call.end(Outcome::Member(record));
        call.machine = None;
        self.folders.insert(record, Folder::new(chart));
        self.look_again();
        Ok(())
    }

    /// Begins to wait for a new device.
    pub(crate) fn device_code(&mut self, record: RecordId, minutes: u32) -> Result<Value, Failure> {
        if self.node.is_none() {
            return Err(Failure::Offline);
        }
        let folder = self.folders.get(&record).ok_or(Failure::NoProfile)?;
        let genesis = *folder.chart.genesis().ok_or(chart::WriteError::NotYet)?;
        let drawn = vault::draw()?;
        let (secret, _) = drawn.expose().split_first_chunk().expect("16 of 32 bytes");
        let until = (now().wall.0 / MINUTE).saturating_add(u64::from(minutes).max(1)) * MINUTE;
        let expires = UnixMillis(until);
        let code = DeviceCode { genesis, secret: *secret, issuer: folder.chart.author(), expires };
        self.device_codes.insert(record, (Secret::new(code.seed()), expires));
        self.look_again();
        Ok(json!({"code": code.text(), "until": crate::view::iso(expires)}))
    }

    /// Looks for whoever gave the code, and takes from it what the phrase opens.
    pub(crate) fn joining(&mut self, record: RecordId, code: &DeviceCode, root: Root) -> Result<(), Failure> {
        if code.expires <= now().wall {
            return Err(Declined::Expired.into());
        }
        if let Some(folder) = self.folders.get_mut(&record) {
            folder.chart.introduce(code.issuer);
            folder.recovering = Some(root);
        }
        self.knock(Place::Joining(record), code.seed())
    }

    pub(crate) fn fetched(&mut self, root: &Digest) {
        let (done, waits): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waits)
            .into_iter()
            .partition(|wait| matches!(&wait.what, Awaited::Blob(awaited, _) if awaited == root));
        self.waits = waits;
        for wait in done {
            if let Awaited::Blob(_, job) = wait.what {
                self.jobs.push_back(*job);
            }
        }
    }

    pub(crate) fn answer_waits(&mut self) {
        let now = now().instant;
        for wait in std::mem::take(&mut self.waits) {
            let outcome = match &wait.what {
                Awaited::Words(number) => self.calls.get(number).map_or(Some(Err(Failure::Parted)), |call| {
                    let words = call.words().map(|words| {
                        Ok(json!({"words": words, "role": crate::view::role_word(call.code.role)}))
                    });
                    words.or_else(|| call.verdict())
                }),
                Awaited::Welcome(number) => {
                    self.calls.get(number).map_or(Some(Err(Failure::Parted)), Call::verdict)
                }
                Awaited::Visitor => {
                    let visitors = self.receptions();
                    (!visitors.is_empty()).then(|| Ok(json!({"visitors": visitors})))
                }
                Awaited::Blob(..) => None,
            };
            match outcome {
                Some(outcome) => self.acks.push((wait.reply, Answer::of(outcome))),
                None if wait.until.is_some_and(|until| until <= now) => {
                    self.acks.push((wait.reply, Answer::of(Err(Failure::Late))));
                }
                // Whoever asked has gone.
                None if wait.reply.is_closed() => {}
                None => self.waits.push(wait),
            }
        }
    }

    /// Those who redeem an invitation of ours and have said who they are.
    pub(crate) fn receptions(&self) -> Vec<Value> {
        let receptions =
            self.talks.values().filter_map(|conversation| match (&conversation.talk, conversation.place) {
                (Talk::Reception(record, machine), Place::Invitation(_, id)) => Some((record, machine, id)),
                _ => None,
            });
        let compared = receptions.filter_map(|(record, machine, id)| {
            let PairingState::Compare(words) = machine.state() else { return None };
            let visitor = machine.visitor()?;
            let issued = self.folders.get(record)?.chart.invitations().find(|row| row.invitation.id() == id);
            Some(json!({
                "invitation": id.to_string(), "claims": visitor.name.0, "key": visitor.author.to_string(),
                "words": words.to_string(), "name": issued.map(|row| row.invited.name.0.clone()),
                "role": issued.map(|row| crate::view::role_word(row.invited.role)),
            }))
        });
        compared.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> DeviceCode {
        let genesis = Root::from_bytes(Secret::new([3; 32])).found(UnixMillis(9), [4; 16]);
        DeviceCode {
            genesis,
            secret: [5; 16],
            issuer: chart::AuthorKey([6; 32]),
            expires: UnixMillis(7 * MINUTE),
        }
    }

    #[test]
    fn a_device_code_reads_back_and_a_wrong_letter_is_found() {
        let text = code().text();
        // 146 bytes are 1,168 bits, 234 letters of five.
        assert_eq!(text.len(), PREFIX.len() + 234);
        let back = DeviceCode::parse(&format!(" {} ", text.to_lowercase())).unwrap();
        assert_eq!((back.genesis, back.secret, back.issuer), (code().genesis, code().secret, code().issuer));
        assert_eq!(back.expires, code().expires);
        for at in [0, PREFIX.len(), 100, text.len() - 1] {
            let mut wrong: Vec<char> = text.chars().collect();
            wrong[at] = if wrong[at] == 'B' { 'C' } else { 'B' };
            let wrong: String = wrong.into_iter().collect();
            assert!(DeviceCode::parse(&wrong).is_err(), "{at}");
        }
    }
}
