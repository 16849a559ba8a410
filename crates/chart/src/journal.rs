//! Logs and contents on their way between store and memory: what is believed, what is kept, what is lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::{Authority, certificate};
use crate::bytes::{DecodeError, whole, written};
use crate::header::{ContentRef, Header, Signed};
use crate::key::{AuthorKey, Digest, RecordId};
use crate::ledger::Ledger;
use crate::log::{Fork, LOG_MAX, LOGS_MAX, Log, Logs, SET_APART_MAX};
use crate::operation::Operation;
use crate::root::{Cut, Genesis};
use crate::seal::WRAPPED_LEN;
use crate::store::{Archive, Slot, StoreError, Write};

/// What became of a header that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Added,
    Known,
    /// Headers before it are missing.
    Gap,
    /// It follows another header than ours: the author has two branches, and where they part lies below.
    Diverged,
    /// It and one of ours prove a fork.
    Forked,
    Refused(Intake),
}

/// Why a header was not taken in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Intake {
    /// It belongs to another record.
    #[error("it belongs to another record")]
    OtherRecord,
    /// Nobody made its author a member.
    #[error("its author is a stranger")]
    Stranger,
    /// Its author did not sign it.
    #[error("its signature is wrong")]
    BadSignature,
    /// It is not later than the header before it.
    #[error("it is back-dated within its log")]
    BackDated,
    /// Its author's log has ended.
    #[error("its log has ended")]
    Ended,
    /// There are too many logs, or too many headers in one.
    #[error("a limit is reached")]
    Full,
}

/// What an opened journal found that should not be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Whose log.
    pub author: AuthorKey,
    /// Headers that were known to be safe.
    pub expected: u64,
    /// Headers that are there and hold together.
    pub found: u64,
}

/// Logs, and what follows from them.
#[derive(Debug)]
pub(crate) struct Journal<S> {
    pub(crate) store: S,
    pub(crate) logs: Logs,
    pub(crate) genesis: Option<Genesis>,
    pub(crate) record: RecordId,
    pub(crate) authority: Authority,
    pub(crate) ledger: Ledger,
    /// Heads to be written with the next change, since what they tell of has been synced.
    confirmed: BTreeMap<AuthorKey, Cut>,
    touched: BTreeSet<AuthorKey>,
    unsynced: bool,
    /// Whether operations came that others depend on.
    stale: bool,
    /// Whether everything was judged anew since the last look.
    judged: bool,
}

impl<S: Archive> Journal<S> {
    pub(crate) fn new(store: S, record: RecordId) -> Self {
        Self {
            store,
            logs: Logs::default(),
            genesis: None,
            record,
            authority: Authority::default(),
            ledger: Ledger::default(),
            confirmed: BTreeMap::new(),
            touched: BTreeSet::new(),
            unsynced: false,
            stale: false,
            judged: false,
        }
    }

    /// Reads everything back. A header that does not hold on to the one before it, and all after it, is left behind:
    /// it was written when the machine stopped, or somebody changed it.
    pub(crate) fn load(&mut self, me: &AuthorKey) -> Result<Vec<CutOff>, StoreError> {
        let mut cut_off = Vec::new();
        for author in self.store.authors()?.into_iter().take(LOGS_MAX) {
            let safe = self.store.get(&Slot::Head(author))?;
            let safe = safe.and_then(|bytes| whole(&bytes, Cut::read).ok());
            let expected = safe.map_or(0, |cut| cut.height);
            self.load_log(me, author, expected)?;
            let log = self.logs.entry(author);
            if safe.is_some_and(|cut| log.head(cut.height) != Some(cut.head)) {
                let found = log.len().min(expected);
                cut_off.push(CutOff { author, expected, found });
            }
            if let Some(fork) =
                self.store.get(&Slot::Fork(author))?.and_then(|bytes| decode_fork(&bytes).ok())
            {
                self.logs.entry(author).prove(fork);
            }
        }
        self.genesis = self.logs.iter().find_map(|(_, log)| founding(self.record, log.get(0)?));
        self.evaluate();
        Ok(cut_off)
    }

    fn load_log(&mut self, me: &AuthorKey, author: AuthorKey, safe: u64) -> Result<(), StoreError> {
        for height in 0..LOG_MAX {
            let Some(bytes) = self.store.get(&Slot::Header(author, height))? else { break };
            let Ok(signed) = Signed::decode(&bytes) else { break };
            let header = signed.header();
            let log = self.logs.entry(author);
            let follows = header.record == self.record
                && (header.author, header.height) == (author, height)
                && Some(header.previous) == log.head(height);
            // What was synced was verified then; what may be torn is verified again.
            if !follows || (height >= safe && signed.verify().is_err()) {
                break;
            }
            // Our own header without its contents was told to nobody, and nobody else has them.
            if author == *me && height >= safe && self.content(&signed)?.is_err() {
                break;
            }
            self.logs.push(signed);
        }
        Ok(())
    }

    /// Reads contents and checks that they are what the header says.
    pub(crate) fn content(&self, signed: &Signed) -> Result<Result<Vec<u8>, Absent>, StoreError> {
        let header = signed.header();
        let Some(reference) = header.content else { return Ok(Ok(Vec::new())) };
        let place = (header.author, header.height);
        let key = self.store.get(&Slot::Key(place.0, place.1))?;
        let body = self.store.get(&Slot::Content(place.0, place.1))?;
        let (Some(key), Some(body)) = (key, body) else { return Ok(Err(Absent::Missing)) };
        let content = [key, body].concat();
        Ok(if reference.fits(&content) { Ok(content) } else { Err(Absent::Damaged) })
    }

    /// Whether contents lie in the store, without reading them.
    pub(crate) fn has_content(&self, header: &Header) -> Result<bool, StoreError> {
        Ok(header.content.is_none() || self.store.has(&Slot::Key(header.author, header.height))?)
    }

    /// Adds a header of our own with its contents.
    pub(crate) fn append(&mut self, signed: &Signed, content: Option<Vec<u8>>) -> Result<(), StoreError> {
        let header = signed.header();
        let (author, height) = (header.author, header.height);
        let mut writes = self.confirmations();
        writes.push(Write { slot: Slot::Header(author, height), value: Some(signed.encode()) });
        if let Some(content) = content {
            writes.extend(content_writes(author, height, &content));
        }
        self.write(writes)?;
        self.keep(signed);
        Ok(())
    }

    /// Judges a header that somebody sent, and keeps it if it may be kept.
    pub(crate) fn admit(&mut self, signed: Signed) -> Result<Admission, StoreError> {
        let header = signed.header();
        let (author, height) = (header.author, header.height);
        if header.record != self.record {
            return Ok(Admission::Refused(Intake::OtherRecord));
        }
        if !self.authority.knows(&author) {
            self.evaluate_if_stale();
        }
        let founder = founding(self.record, &signed);
        let is_known =
            self.logs.get(&author).is_some_and(|log| log.len() > 0) || self.authority.knows(&author);
        if !is_known && founder.is_none() {
            return Ok(Admission::Refused(Intake::Stranger));
        }
        let none = Log::default();
        let log = self.logs.get(&author).unwrap_or(&none);
        if height > log.len() {
            return Ok(Admission::Gap);
        }
        let cut = self.authority.cut(&author).copied();
        // An owner chose a branch, and ours does not reach to where it could be told whether it is that one.
        let undecided = cut.is_some_and(|cut| log.len() < cut.height);
        if let Some(ours) = log.get(height) {
            if ours.id() == signed.id() {
                return Ok(Admission::Known);
            }
            let Some(fork) = Fork::of(ours.clone(), signed) else { return Ok(Admission::Known) };
            let outcome = self.prove(fork)?;
            let is_proven = matches!(outcome, Admission::Forked | Admission::Known);
            return if is_proven && undecided { self.begin_again(author) } else { Ok(outcome) };
        }
        let ended = match (&cut, log.fork()) {
            (Some(cut), _) => height >= cut.height.saturating_add(SET_APART_MAX),
            (None, fork) => fork.is_some(),
        };
        if ended {
            return Ok(Admission::Refused(Intake::Ended));
        }
        // The first header beyond a quota is kept, and refused; those after it are not even kept.
        let written = log.written(log.len().saturating_sub(1));
        let is_over = self.authority.quota(&author).is_some_and(|quota| written > quota);
        let is_new_log = height == 0;
        if is_over || height >= LOG_MAX || (is_new_log && self.logs.count() >= LOGS_MAX) {
            return Ok(Admission::Refused(Intake::Full));
        }
        if log.last().is_some_and(|last| last.header().hlc >= header.hlc) {
            return Ok(Admission::Refused(Intake::BackDated));
        }
        if signed.verify().is_err() {
            return Ok(Admission::Refused(Intake::BadSignature));
        }
        if Some(header.previous) != log.head(height) {
            return match cut {
                Some(_) if undecided => self.begin_again(author),
                Some(_) => Ok(Admission::Refused(Intake::Ended)),
                None => Ok(Admission::Diverged),
            };
        }
        if cut.is_some_and(|cut| cut.height == height + 1 && cut.head != signed.id()) {
            return self.begin_again(author);
        }
        let mut writes = self.confirmations();
        writes.push(Write { slot: Slot::Header(author, height), value: Some(signed.encode()) });
        self.write(writes)?;
        if self.genesis.is_none() {
            self.genesis = founder;
        }
        self.keep(&signed);
        Ok(Admission::Added)
    }

    /// Leaves a branch that may be the wrong one; what an owner chose comes from whoever has it.
    fn begin_again(&mut self, author: AuthorKey) -> Result<Admission, StoreError> {
        self.drop_log(author)?;
        Ok(Admission::Diverged)
    }

    /// Takes a proof that an author forked its log.
    pub(crate) fn prove(&mut self, fork: Fork) -> Result<Admission, StoreError> {
        if fork.one.header().record != self.record || !self.authority.knows(&fork.author()) {
            return Ok(Admission::Refused(Intake::Stranger));
        }
        if fork.one.verify().is_err() || fork.other.verify().is_err() {
            return Ok(Admission::Refused(Intake::BadSignature));
        }
        let author = fork.author();
        let value = Some(encode_fork(&fork));
        if !self.logs.entry(author).prove(fork) {
            return Ok(Admission::Known);
        }
        self.write(vec![Write { slot: Slot::Fork(author), value }])?;
        self.stale = true;
        Ok(Admission::Forked)
    }

    /// Keeps contents that belong to a header, and says whether they do and were wanted.
    pub(crate) fn put_content(
        &mut self,
        author: AuthorKey,
        height: u64,
        content: &[u8],
    ) -> Result<bool, StoreError> {
        let Some(signed) = self.logs.get(&author).and_then(|log| log.get(height)) else { return Ok(false) };
        let fits = signed.header().content.is_some_and(|reference: ContentRef| reference.fits(content));
        let wanted =
            fits && !self.ledger.erased.contains(&signed.id()) && !self.ledger.is_refused(&author, height);
        if !wanted || self.content(signed)?.is_ok() {
            return Ok(false);
        }
        self.write(content_writes(author, height, content).into())?;
        Ok(true)
    }

    /// Destroys the contents of a version, its key first.
    pub(crate) fn destroy(&mut self, id: &Digest) -> Result<Option<Signed>, StoreError> {
        let Some(signed) = self.logs.find(id).cloned() else { return Ok(None) };
        let (author, height) = (signed.header().author, signed.header().height);
        if signed.header().content.is_none() || !self.has_content(signed.header())? {
            return Ok(None);
        }
        let slots = [Slot::Key(author, height), Slot::Content(author, height)];
        self.write(slots.map(|slot| Write { slot, value: None }).into())?;
        Ok(Some(signed))
    }

    /// Forgets a log that turned out to be on a branch that no owner chose.
    pub(crate) fn drop_log(&mut self, author: AuthorKey) -> Result<(), StoreError> {
        let len = self.logs.len_of(&author);
        let slots = (0..len).flat_map(|height| {
            [Slot::Header(author, height), Slot::Key(author, height), Slot::Content(author, height)]
        });
        let slots = std::iter::once(Slot::Head(author)).chain(slots);
        self.write(slots.map(|slot| Write { slot, value: None }).collect())?;
        self.logs.truncate(&author, 0);
        self.touched.remove(&author);
        self.confirmed.remove(&author);
        self.stale = true;
        Ok(())
    }

    /// Logs that lie on another branch than a cut says.
    pub(crate) fn misplaced(&self) -> Vec<AuthorKey> {
        let off = self.logs.iter().filter(|(author, log)| {
            let cut = self.authority.cut(author);
            cut.is_some_and(|cut| log.head(cut.height).is_some_and(|head| head != cut.head))
        });
        off.map(|(author, _)| *author).collect()
    }

    /// Judges everything anew if anything came that others depend on; says whether that happened since last asked.
    pub(crate) fn settle(&mut self) -> bool {
        self.evaluate_if_stale();
        std::mem::take(&mut self.judged)
    }

    fn evaluate_if_stale(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.evaluate();
            self.judged = true;
        }
    }

    fn evaluate(&mut self) {
        self.authority = Authority::of(self.genesis, &self.logs);
        self.ledger = Ledger::of(&self.authority, &self.logs);
    }

    fn keep(&mut self, signed: &Signed) {
        self.touched.insert(signed.header().author);
        let is_plain = matches!(signed.header().operation, Operation::Version(_) | Operation::Audit(_));
        self.logs.push(signed.clone());
        if is_plain && !self.stale {
            self.ledger.add(&self.authority, &self.logs, signed);
        } else {
            self.stale = true;
        }
    }

    /// Returns once all that was written is safe.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if !self.unsynced {
            return Ok(());
        }
        self.store.sync()?;
        self.unsynced = false;
        for author in std::mem::take(&mut self.touched) {
            let log = self.logs.get(&author);
            self.confirmed.insert(author, log.map_or(Cut { height: 0, head: Digest::ZERO }, Log::cut));
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.unsynced = true;
        self.store.write(writes)
    }

    fn confirmations(&mut self) -> Vec<Write> {
        let confirmed = std::mem::take(&mut self.confirmed);
        let write = |(author, cut): (AuthorKey, Cut)| Write {
            slot: Slot::Head(author),
            value: Some(written(|w| cut.write(w))),
        };
        confirmed.into_iter().map(write).collect()
    }
}

/// Why contents cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Missing,
    Damaged,
}

/// The beginning of the record, if this header is an owner device's first.
fn founding(record: RecordId, first: &Signed) -> Option<Genesis> {
    let Operation::Enrol(genesis, _) = &first.header().operation else { return None };
    (genesis.record() == record && certificate(genesis, first).is_some()).then_some(*genesis)
}

fn content_writes(author: AuthorKey, height: u64, content: &[u8]) -> [Write; 2] {
    let (key, body) = content.split_at_checked(WRAPPED_LEN).unwrap_or((content, &[]));
    [
        Write { slot: Slot::Key(author, height), value: Some(key.to_vec()) },
        Write { slot: Slot::Content(author, height), value: Some(body.to_vec()) },
    ]
}

/// `| header bytes | header bytes |`
pub(crate) fn encode_fork(fork: &Fork) -> Vec<u8> {
    written(|w| {
        w.bytes(&fork.one.encode()).bytes(&fork.other.encode());
    })
}

pub(crate) fn decode_fork(bytes: &[u8]) -> Result<Fork, DecodeError> {
    let max = crate::header::HEADER_MAX;
    let (one, other) =
        whole(bytes, |r| Ok((Signed::decode(r.bytes(max)?)?, Signed::decode(r.bytes(max)?)?)))?;
    Fork::of(one, other).ok_or(DecodeError::NotCanonical)
}
