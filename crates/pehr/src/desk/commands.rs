//! What is asked about entries, and about the process itself.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chart::{Act, Audit, Change, Digest, Private, Reading, RecordId, Root, Scope, Statement};
use data_encoding::BASE64;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vault::{Cost, Passphrase, Progress, Sealing, Work};

use super::{Open, Reply, answer, now};
use crate::failure::{Failure, file};
use crate::folder::{Folder, version};
use crate::job::{Job, create};
use crate::request::{Answer, Draft, Request, Spoken, Which};

/// Values of a backup between two lines of progress.
const PROGRESS_EVERY: u64 = 1_000;

impl Open {
    /// Does what is asked; the answer is given once it is safe, or when what is waited for has happened.
    pub(crate) fn request(&mut self, request: Request, reply: Reply) {
        let outcome = match request {
            Request::Redeem { code, wait } => return self.redeem(&code.0, wait, reply),
            Request::Confirm { verdict, wait } => return self.confirm(verdict, wait, reply),
            Request::Visitors { wait } => return self.visitors(wait, reply),
            Request::Attach { record, path, media_type, reason } => {
                let begun = self.attach(&record, path, (media_type, reason), reply.clone());
                return begun.unwrap_or_else(|failure| answer(&reply, Err(failure)));
            }
            Request::Fetch { record, entry, number, to } => {
                let begun = self.fetch(&record, &entry, number, (to, reply.clone()));
                return begun.unwrap_or_else(|failure| answer(&reply, Err(failure)));
            }
            Request::Backup { to, passphrase } => {
                let begun = self.backup(to, passphrase, reply.clone());
                return begun.unwrap_or_else(|failure| answer(&reply, Err(failure)));
            }
            other => self.answer_to(other),
        };
        self.acks.push((reply, Answer::of(outcome)));
    }

    fn answer_to(&mut self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Add { record, draft } => {
                let (_, folder) = self.folder(&record)?;
                let id = folder.chart.add(now(), Scope::GENERAL, &statement(draft)?)?;
                Ok(json!({"entry": id.to_string()}))
            }
            Request::Amend { record, entry, draft } => {
                let draft = statement(draft)?;
                self.change(&record, &entry, Change::Amendment, |old| Statement {
                    attachments: old.attachments,
                    labels: if draft.labels.0.iter().all(String::is_empty) {
                        old.labels
                    } else {
                        draft.labels
                    },
                    ..draft
                })
            }
            Request::Retract { record, entry, reason } => {
                if reason.trim().is_empty() {
                    return Err(Failure::Invalid { what: "--reason", wanted: "why the entry is retracted" });
                }
                self.change(&record, &entry, Change::Retraction, |old| Statement {
                    reason: Private(reason),
                    ..old
                })
            }
            Request::List { record } => {
                let (_, folder) = self.folder(&record)?;
                Ok(json!({"record": folder.chart.record().to_string(), "entries": folder.list()?}))
            }
            Request::Show { record, entry } => self.versions(&record, &entry, Depth::Newest),
            Request::History { record, entry } => self.versions(&record, &entry, Depth::All),
            Request::Erase { record, entry } => self.erase(&record, &entry),
            Request::Audit { record } => self.audit(&record),
            Request::Export { record, to } => self.export(&record, &to),
            other => self.answer_about_people(other),
        }
    }

    fn answer_about_people(&mut self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Status => self.status(),
            Request::Passwd { old, new } => self.passwd(&old, &new),
            Request::Invite(invitee) => self.invite(&invitee),
            Request::Cancel { invitation } => self.cancel(&invitation),
            Request::Accept { invitation, verdict } => self.accept(invitation.as_deref(), verdict),
            Request::People { record } => self.people(&record),
            Request::Revoke { person } => self.revoke(&person),
            Request::Patients => self.patients(),
            Request::Words => self.words(),
            Request::Devices => self.devices(),
            Request::DeviceCode { minutes } => {
                let (record, _) = self.folder(&None)?;
                self.device_code(record, minutes)
            }
            Request::DeviceRemove { device, phrase } => self.remove_device(&device, &phrase),
            // The desk has seen to the others.
            _ => Err(Failure::Ending),
        }
    }

    fn audit(&mut self, record: &Which) -> Result<Value, Failure> {
        let (_, folder) = self.folder(record)?;
        let damaged = folder.chart.scrub()?.into_iter();
        let damaged: Vec<Value> =
            damaged.map(|(author, height)| json!({"key": author.to_string(), "height": height})).collect();
        Ok(json!({"deeds": folder.audit()?, "damaged": damaged, "warnings": folder.warnings}))
    }

    /// Finds a record by its key or its patient's name; the only one needs no name.
    pub(crate) fn folder(&mut self, which: &Which) -> Result<(RecordId, &mut Folder), Failure> {
        let name = which.clone().unwrap_or_default();
        let mut found = Vec::new();
        for (record, folder) in &self.folders {
            let by_name = || {
                let patient = folder.patient()?.unwrap_or_default();
                Ok::<_, Failure>(patient.to_lowercase() == name.to_lowercase())
            };
            if which.is_none() || record.to_string().starts_with(&name) || by_name()? {
                found.push(*record);
            }
        }
        let record = match found[..] {
            [record] => record,
            [] => return Err(Failure::NotFound { kind: "record", name, list: "pehr patients" }),
            _ => return Err(Failure::Ambiguous { kind: "record", name }),
        };
        let folder = self.folders.get_mut(&record).ok_or(Failure::NoProfile)?;
        Ok((record, folder))
    }

    /// The record of which this is an owner's device.
    pub(crate) fn own(&mut self) -> Result<(RecordId, &mut Folder), Failure> {
        let own = self.folders.iter_mut().find(|(_, folder)| folder.chart.is_owner());
        own.map(|(record, folder)| (*record, folder)).ok_or(Failure::NotOwner)
    }

    fn status(&mut self) -> Result<Value, Failure> {
        let mut records = Vec::new();
        for (record, folder) in &self.folders {
            let peers = self
                .talks
                .values()
                .filter(|talk| matches!(talk.talk, super::Talk::Record(of) if of == *record));
            records.push(json!({
                "record": record.to_string(), "patient": folder.patient()?, "owner": folder.chart.is_owner(),
                "key": folder.chart.author().to_string(), "entries": folder.chart.entries().count(),
                "state": folder.chart.state().to_string(), "refused": folder.chart.refused().count(),
                "connected": peers.filter(|talk| talk.peer.is_some()).count(),
                "ended": self.profile.ended.contains(&record.to_string()), "warnings": folder.warnings,
            }));
        }
        let network = if self.node.is_some() { "joined" } else { "offline" };
        Ok(json!({
            "profile": self.profile.kind, "name": self.profile.name.0, "locked": false,
            "reach": self.profile.reach, "network": network, "records": records,
        }))
    }

    fn passwd(&mut self, old: &Spoken, new: &Spoken) -> Result<Value, Failure> {
        if new.0.is_empty() {
            return Err(Failure::Invalid { what: "the passphrase", wanted: "at least one character" });
        }
        let (old, new) = (Passphrase::new(old.0.clone()), Passphrase::new(new.0.clone()));
        self.vault.change_passphrase(&old, &new, Cost::STANDARD)?;
        Ok(json!({"changed": true}))
    }

    fn patients(&self) -> Result<Value, Failure> {
        let mut patients = Vec::new();
        for (record, folder) in &self.folders {
            let mine = folder.chart.author();
            let role = folder.known_as(&mine)?.1;
            let connected = self.talks.values().any(|talk| {
                matches!(talk.talk, super::Talk::Record(of) if of == *record) && talk.peer.is_some()
            });
            patients.push(json!({
                "record": record.to_string(), "name": folder.patient()?, "role": role, "connected": connected,
                "entries": folder.chart.entries().count(),
                "ended": self.profile.ended.contains(&record.to_string()),
            }));
        }
        Ok(json!({"patients": patients}))
    }

    fn change(
        &mut self,
        record: &Which,
        entry: &str,
        change: Change,
        edit: impl FnOnce(Statement) -> Statement,
    ) -> Result<Value, Failure> {
        let (_, folder) = self.folder(record)?;
        let entry = folder.find(entry)?;
        let head = folder.chart.entry(&entry).and_then(|entry| entry.heads().last());
        let old = match head.map(|head| folder.chart.read(&head)).transpose()? {
            Some(Reading::Statement(statement)) => *statement,
            _ => Statement::default(),
        };
        let id = folder.chart.change(now(), entry, change, &edit(old))?;
        Ok(json!({"entry": entry.to_string(), "version": id.to_string()}))
    }

    fn versions(&mut self, record: &Which, entry: &str, depth: Depth) -> Result<Value, Failure> {
        let (_, folder) = self.folder(record)?;
        let id = folder.find(entry)?;
        let Some(entry) = folder.chart.entry(&id) else { return Ok(Value::Null) };
        let ids: Vec<Digest> = match depth {
            Depth::Newest => entry.heads().collect(),
            Depth::All => entry.versions().collect(),
        };
        let heads = entry.heads().count();
        let versions: Result<Vec<Value>, Failure> = ids.iter().map(|id| folder.version(now(), id)).collect();
        Ok(json!({"entry": id.to_string(), "heads": heads, "versions": versions?}))
    }

    fn erase(&mut self, record: &Which, entry: &str) -> Result<Value, Failure> {
        let (_, folder) = self.folder(record)?;
        let entry = folder.find(entry)?;
        let versions: BTreeSet<Digest> =
            folder.chart.entry(&entry).into_iter().flat_map(chart::Entry::versions).collect();
        folder.chart.erase(now(), &versions)?;
        Ok(json!({"entry": entry.to_string(), "versions": versions.len()}))
    }

    fn attach(
        &mut self,
        record: &Which,
        path: PathBuf,
        words: (String, String),
        reply: Reply,
    ) -> Result<(), Failure> {
        let (record, folder) = self.folder(record)?;
        let job = Job::attach((record, folder), path, words, reply)?;
        self.jobs.push_back(job);
        Ok(())
    }

    fn fetch(
        &mut self,
        record: &Which,
        entry: &str,
        number: usize,
        (to, reply): (PathBuf, Reply),
    ) -> Result<(), Failure> {
        let (record, folder) = self.folder(record)?;
        let entry = folder.find(entry)?;
        let head = folder.chart.entry(&entry).and_then(|entry| entry.heads().last());
        let attachment = match head.map(|head| folder.chart.read(&head)).transpose()? {
            Some(Reading::Statement(statement)) => statement.attachments.into_iter().nth(number),
            _ => None,
        };
        let job = Job::save(record, attachment.ok_or(Failure::NoAttachment)?, to, reply)?;
        self.jobs.push_back(job);
        Ok(())
    }

    /// Holds on to what is here now, and writes it beside whatever else goes on.
    fn backup(&mut self, to: PathBuf, passphrase: Option<Spoken>, reply: Reply) -> Result<(), Failure> {
        let sealing = match passphrase {
            Some(passphrase) => Sealing::Under(Passphrase::new(passphrase.0.clone()), Work::STANDARD),
            None => Sealing::To(self.vault.recipient()?.ok_or(Failure::NoRecipient)?),
        };
        for folder in self.folders.values_mut() {
            if folder.chart.is_owner() {
                folder.chart.note(now(), Audit { act: Act::Backup, about: None })?;
            }
            folder.chart.flush()?;
        }
        let snapshot = self.vault.snapshot()?;
        tokio::task::spawn_blocking(move || {
            let written = snapshot.write_file(&to, &sealing, |Progress { done, of }| {
                if done % PROGRESS_EVERY == 0 && reply.capacity() > 1 {
                    drop(reply.try_send(Answer::Progress { done, total: of }));
                }
            });
            answer(&reply, written.map(|()| json!({"to": to})).map_err(Failure::from));
        });
        Ok(())
    }

    /// The newest versions as a FHIR Bundle: resources as they were written, texts as documents.
    fn export(&mut self, record: &Which, to: &Path) -> Result<Value, Failure> {
        let (_, folder) = self.folder(record)?;
        let mut resources: Vec<Box<RawValue>> = Vec::new();
        let mut left_out = 0_usize;
        for (_, entry) in folder.chart.entries() {
            for head in entry.heads() {
                let is_retraction = folder
                    .chart
                    .header(&head)
                    .and_then(version)
                    .is_some_and(|v| v.change == Change::Retraction);
                match folder.chart.read(&head)? {
                    Reading::Statement(statement) if !is_retraction => resources.push(resource(&statement)),
                    _ => left_out += 1,
                }
            }
        }
        let mut output = create(to)?;
        let write = |output: &mut std::fs::File| {
            output.write_all(br#"{"resourceType":"Bundle","type":"collection","entry":["#)?;
            for (at, resource) in resources.iter().enumerate() {
                write!(output, "{}\n{{\"resource\":{resource}}}", if at == 0 { "" } else { "," })?;
            }
            output.write_all(b"\n]}\n")?;
            output.sync_all()
        };
        write(&mut output).map_err(file("write", to))?;
        folder.chart.note(now(), Audit { act: Act::Export, about: None })?;
        Ok(json!({"to": to, "resources": resources.len(), "left_out": left_out}))
    }

    fn devices(&mut self) -> Result<Value, Failure> {
        let (_, folder) = self.own()?;
        let mine = folder.chart.author();
        let devices: Vec<Value> = folder
            .chart
            .devices()
            .map(|device| json!({"key": device.to_string(), "this": device == mine}))
            .collect();
        Ok(json!({"devices": devices}))
    }

    fn remove_device(&mut self, device: &str, phrase: &Spoken) -> Result<Value, Failure> {
        let root = Root::from_phrase(&phrase.0).map_err(|_| Failure::Phrase)?;
        let (_, folder) = self.own()?;
        if folder.chart.genesis().is_none_or(|genesis| genesis.root != root.public()) {
            return Err(Failure::Phrase);
        }
        let named: Vec<_> = folder
            .chart
            .devices()
            .filter(|key| !device.is_empty() && key.to_string().starts_with(device))
            .collect();
        let key = match named[..] {
            [key] => key,
            [] => {
                return Err(Failure::NotFound {
                    kind: "device",
                    name: device.into(),
                    list: "pehr device list",
                });
            }
            _ => return Err(Failure::Ambiguous { kind: "device", name: device.into() }),
        };
        folder.chart.remove_device(now(), &root, key)?;
        Ok(json!({"removed": key.to_string()}))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Newest,
    All,
}

fn statement(draft: Draft) -> Result<Statement, Failure> {
    let Draft { kind, media_type, body, reason } = draft;
    if media_type.contains("json") && serde_json::from_str::<&RawValue>(&body).is_err() {
        return Err(Failure::Invalid { what: "the body", wanted: "JSON, as its media type says" });
    }
    Ok(Statement {
        media_type,
        reason: Private(reason),
        labels: Private(vec![kind]),
        body: Private(body.into_bytes()),
        ..Statement::default()
    })
}

/// A FHIR resource as it was written; what is none becomes a document.
fn resource(statement: &Statement) -> Box<RawValue> {
    let text = String::from_utf8_lossy(&statement.body.0);
    if statement.media_type.starts_with("application/fhir+json")
        && let Ok(raw) = serde_json::from_str::<Box<RawValue>>(&text)
    {
        return raw;
    }
    let files = statement.attachments.iter();
    let files = files.map(|file| json!({"attachment": {"contentType": file.media_type, "title": file.name.0, "size": file.len}}));
    let body = json!({"attachment": {"contentType": statement.media_type, "data": BASE64.encode(&statement.body.0)}});
    let content: Vec<Value> = if statement.body.0.is_empty() {
        files.collect()
    } else {
        std::iter::once(body).chain(files).collect()
    };
    let document = json!({"resourceType": "DocumentReference", "status": "current", "content": content});
    serde_json::value::to_raw_value(&document).expect("a value becomes JSON")
}
