//! One record: its replica, and what the host remembers of how things came.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, VecDeque};

use chart::{
    Act, Audit, AuthorKey, Bye, Chart, CutOff, Digest, Entry, Event, Header, LinkId, Now, Operation, Reading,
    RecordId, Root, Statement, UnixMillis, Version, WriteError,
};
use serde_json::{Value, json};
use vault::{Shelf, Vault};

use crate::failure::Failure;
use crate::view::{about, change_word, claimed, deed, iso, patient_name, reading_word, role_word, summary};

/// Refusals by this device that its own log notes for good, between two starts.
const NOTED_MAX: usize = 256;
/// Warnings that are kept to be shown.
const WARNINGS_MAX: usize = 64;
/// The host's note of received versions: author's hash, by whom it came, when.
const RECEIPT_LEN: usize = 72;

/// How a version came here.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    via: AuthorKey,
    at: UnixMillis,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) chart: Chart<Shelf>,
    receipts: BTreeMap<Digest, Receipt>,
    unsaved: Vec<u8>,
    /// Notes of receipts written so far.
    pages: u64,
    pub(crate) warnings: VecDeque<String>,
    noted: std::collections::BTreeSet<Digest>,
    /// The owner's phrase, while a device that has nothing yet waits for logs to open with it.
    pub(crate) recovering: Option<Root>,
}

/// What a record tells the desk.
pub(crate) enum Tiding {
    Met { link: LinkId, author: AuthorKey },
    Closed { link: LinkId, why: Bye },
    Fetched(Digest),
}

impl Folder {
    pub(crate) fn new(chart: Chart<Shelf>) -> Self {
        let noted = chart.refused().map(|refused| refused.id).collect();
        Self {
            chart,
            receipts: BTreeMap::new(),
            unsaved: Vec::new(),
            pages: 0,
            warnings: VecDeque::new(),
            noted,
            recovering: None,
        }
    }

    /// Opens a record of a vault.
    pub(crate) fn open(vault: &Vault, record: &RecordId) -> Result<Self, Failure> {
        let (chart, cut_off) = vault.chart(record)?;
        let mut it = Self::new(chart);
        for CutOff { author, .. } in cut_off {
            it.warn(format!(
                "the end of the log of {author} is missing: it was cut off, or the disk lost it"
            ));
        }
        while let Some(page) = vault.note(&it.page_name(it.pages))? {
            it.pages += 1;
            for receipt in page.chunks_exact(RECEIPT_LEN) {
                it.take_receipt(receipt);
            }
        }
        Ok(it)
    }

    fn page_name(&self, page: u64) -> String {
        format!("received/{}/{page}", self.chart.record())
    }

    fn take_receipt(&mut self, bytes: &[u8]) -> Option<()> {
        let (id, rest) = bytes.split_first_chunk::<32>()?;
        let (via, at) = rest.split_first_chunk::<32>()?;
        let at = UnixMillis(u64::from_le_bytes(at.try_into().ok()?));
        self.receipts.insert(Digest(*id), Receipt { via: AuthorKey(*via), at });
        Some(())
    }

    /// Keeps what was noted of received versions.
    pub(crate) fn save_receipts(&mut self, vault: &Vault) -> Result<(), Failure> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        let name = self.page_name(self.pages);
        vault.set_note(&name, Some(&std::mem::take(&mut self.unsaved)))?;
        self.pages += 1;
        Ok(())
    }

    pub(crate) fn warn(&mut self, warning: String) {
        if self.warnings.len() == WARNINGS_MAX {
            self.warnings.pop_front();
        }
        self.warnings.push_back(warning);
    }

    /// Takes note of the record's events, and passes on what concerns connections.
    pub(crate) fn drain(&mut self, now: Now) -> Result<Vec<Tiding>, Failure> {
        let mut tidings = Vec::new();
        let mut refusals = Vec::new();
        let mut grew = false;
        while let Some(event) = self.chart.poll_event() {
            match event {
                Event::Received { id, via } => {
                    grew = true;
                    self.unsaved.extend([&id.0[..], &via.0, &now.wall.0.to_le_bytes()].concat());
                    self.receipts.insert(id, Receipt { via, at: now.wall });
                }
                Event::Refused(refused) => refusals.push((refused.id, refused.author)),
                Event::TurnedAway { via, author, why } => {
                    self.warn(format!(
                        "{via} sent something in the name of {author}, which was turned away: {why:?}"
                    ));
                    refusals.push((Digest(via.0), via));
                }
                Event::Forked(author) => self.warn(format!("{author} contradicted itself")),
                Event::SetBack => {
                    self.warn("this store was set back: others had more of our log than we did".into());
                }
                Event::Met { link, author } => tidings.push(Tiding::Met { link, author }),
                Event::Closed { link, why, .. } => tidings.push(Tiding::Closed { link, why }),
                Event::Fetched(root) => tidings.push(Tiding::Fetched(root)),
                _ => {}
            }
        }
        if let (true, Some(root)) = (grew, &self.recovering) {
            self.chart.recover(now, root)?;
        }
        for (id, _) in refusals {
            self.note_refusal(now, id)?;
        }
        Ok(tidings)
    }

    /// Notes for good that something was refused, each thing once.
    pub(crate) fn note_refusal(&mut self, now: Now, about: Digest) -> Result<(), Failure> {
        if !self.chart.is_owner() || self.noted.len() >= NOTED_MAX || !self.noted.insert(about) {
            return Ok(());
        }
        match self.chart.note(now, Audit { act: Act::Refused, about: Some(about) }) {
            Ok(_) | Err(WriteError::Behind | WriteError::NotYet) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The name of the patient, as the record has it.
    pub(crate) fn patient(&self) -> Result<Option<String>, Failure> {
        for (_, entry) in self.chart.entries() {
            let Some(head) = entry.heads().last() else { continue };
            let by_owner = self.chart.header(&head).is_some_and(|header| self.is_owner(&header.author));
            if let (true, Reading::Statement(statement)) = (by_owner, self.chart.read(&head)?)
                && let Some(name) = patient_name(&statement)
            {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    pub(crate) fn is_owner(&self, author: &AuthorKey) -> bool {
        self.chart.devices().any(|device| device == *author)
    }

    /// What people call an author, and what they are in the record.
    pub(crate) fn known_as(&self, author: &AuthorKey) -> Result<(String, &'static str), Failure> {
        let person = self.chart.people().find(|person| person.author == *author);
        if let Some(person) = person {
            let name = match self.chart.read(&person.id)? {
                Reading::Statement(name) => String::from_utf8_lossy(&name.body.0).into_owned(),
                _ => String::new(),
            };
            return Ok((name, role_word(person.grant.role)));
        }
        Ok((self.patient()?.unwrap_or_default(), if self.is_owner(author) { "owner" } else { "nobody" }))
    }

    /// Reads what a version says. What this device wrote itself and cannot read any more is damaged, not on its way; peers
    /// that have it are asked all the same.
    fn reading(&self, id: &Digest) -> Result<Reading, Failure> {
        let reading = self.chart.read(id)?;
        let is_own = self.chart.header(id).is_some_and(|header| header.author == self.chart.author());
        Ok(if is_own && matches!(reading, Reading::Missing) { Reading::Damaged } else { reading })
    }

    /// Finds an entry by the beginning of its name.
    pub(crate) fn find(&self, name: &str) -> Result<Digest, Failure> {
        let mut found =
            self.chart.entries().filter(|(id, _)| id.to_string().starts_with(name)).map(|(id, _)| *id);
        let first = found.next().filter(|_| !name.is_empty());
        let first =
            first.ok_or_else(|| Failure::NotFound { kind: "entry", name: name.into(), list: "pehr list" })?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(Failure::Ambiguous { kind: "entry", name: name.into() }),
        }
    }

    /// All entries in a line each, the latest last.
    pub(crate) fn list(&self) -> Result<Vec<Value>, Failure> {
        let mut entries: Vec<_> = self.chart.entries().collect();
        entries.sort_by_key(|(id, entry)| (entry.latest(), **id));
        let mut names = BTreeMap::new();
        entries.into_iter().map(|(id, entry)| self.line(id, entry, &mut names)).collect()
    }

    fn line(
        &self,
        id: &Digest,
        entry: &Entry,
        names: &mut BTreeMap<AuthorKey, (String, &'static str)>,
    ) -> Result<Value, Failure> {
        let heads: Vec<Digest> = entry.heads().collect();
        let head = heads.last().copied().unwrap_or(*id);
        let reading = self.reading(&head)?;
        let header = self.chart.header(&head);
        let author = header.map(|header| header.author);
        let (name, role) = match author {
            Some(author) => match names.get(&author) {
                Some(known) => known.clone(),
                None => names.entry(author).or_insert(self.known_as(&author)?).clone(),
            },
            None => (String::new(), "nobody"),
        };
        let change = header.and_then(|header| version(header)).map(|version| version.change);
        let state = match (&reading, change) {
            (Reading::Statement(_), _) if heads.len() > 1 => "two versions",
            (Reading::Statement(_), Some(chart::Change::Retraction)) => "retracted",
            (Reading::Statement(_), _) => "current",
            (other, _) => reading_word(other),
        };
        let (kind, text, files) = match &reading {
            Reading::Statement(statement) => {
                (statement.labels.0.first().cloned(), summary(statement), statement.attachments.len())
            }
            _ => (None, String::new(), 0),
        };
        Ok(json!({
            "entry": id.to_string(), "kind": kind, "text": text, "state": state, "files": files,
            "versions": entry.versions().count(), "heads": heads.len(),
            "author": {"key": author.map(|key| key.to_string()), "name": name, "role": role},
            "at": header.map(|header| claimed(header.hlc)),
        }))
    }

    /// One version with everything that is known of how it came.
    pub(crate) fn version(&self, now: Now, id: &Digest) -> Result<Value, Failure> {
        let reading = self.reading(id)?;
        let Some(header) = self.chart.header(id) else { return Ok(Value::Null) };
        let (name, role) = self.known_as(&header.author)?;
        let receipt = self.receipts.get(id);
        let said = match &reading {
            Reading::Statement(statement) => said(statement),
            other => json!({"missing": reading_word(other)}),
        };
        let change = version(header).map(|version| change_word(version.change));
        Ok(json!({
            "version": id.to_string(), "change": change, "said": said,
            "damaged": matches!(reading, Reading::Damaged),
            "author": {"key": header.author.to_string(), "name": name, "role": role},
            "at": claimed(header.hlc), "doubtful_time": self.chart.is_doubtful(now, header),
            "received": receipt.map(|receipt| iso(receipt.at)),
            "via": receipt.map(|receipt| receipt.via.to_string()),
        }))
    }

    /// What everybody did, the latest last.
    pub(crate) fn audit(&self) -> Result<Vec<Value>, Failure> {
        let mut deeds: Vec<(&Header, Digest)> = Vec::new();
        for author in self.chart.authors() {
            deeds.extend(self.chart.log(author).map(|signed| (signed.header(), signed.id())));
        }
        deeds.sort_by_key(|(header, id)| (header.hlc, *id));
        let refused: BTreeMap<_, _> =
            self.chart.refused().map(|refused| ((refused.author, refused.height), refused.why)).collect();
        let mut names = BTreeMap::new();
        deeds
            .into_iter()
            .map(|(header, id)| {
                let (name, role) = match names.entry(header.author) {
                    Slot::Vacant(place) => place.insert(self.known_as(&header.author)?),
                    Slot::Occupied(known) => known.into_mut(),
                };
                let why = refused.get(&(header.author, header.height)).map(ToString::to_string);
                Ok(json!({
                    "at": claimed(header.hlc), "key": header.author.to_string(), "name": name, "role": role,
                    "did": deed(&header.operation), "about": about(&header.operation), "refused": why,
                    "id": id.to_string(), "height": header.height,
                }))
            })
            .collect()
    }
}

fn said(statement: &Statement) -> Value {
    let files: Vec<Value> = statement
        .attachments
        .iter()
        .map(|file| json!({"name": file.name.0, "bytes": file.len, "media_type": file.media_type}))
        .collect();
    json!({
        "kind": statement.labels.0.first(), "media_type": statement.media_type, "reason": statement.reason.0,
        "body": String::from_utf8_lossy(&statement.body.0), "files": files,
    })
}

pub(crate) const fn version(header: &Header) -> Option<&Version> {
    match &header.operation {
        Operation::Version(version) => Some(version),
        _ => None,
    }
}
