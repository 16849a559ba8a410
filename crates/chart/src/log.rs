//! The logs of a record in memory, and what becomes of headers that others send.

use std::collections::{BTreeMap, HashMap};

use crate::header::Signed;
use crate::key::{AuthorKey, Digest};
use crate::root::Cut;

/// Logs of one record: owner devices and members, past ones included.
pub const LOGS_MAX: usize = 256;

/// Headers of one log.
pub const LOG_MAX: u64 = 1 << 20;

/// Headers kept beyond a cut, to show what was tried.
pub const SET_APART_MAX: u64 = 1_024;

/// Two headers of one author at one height: nobody but the author can have made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    pub(crate) one: Signed,
    pub(crate) other: Signed,
}

impl Fork {
    /// Makes a proof of two headers that are one, without looking at signatures.
    pub(crate) fn of(one: Signed, other: Signed) -> Option<Self> {
        let (a, b) = (one.header(), other.header());
        let proves =
            a.record == b.record && a.author == b.author && a.height == b.height && one.id() != other.id();
        proves.then_some(Self { one, other })
    }

    pub(crate) fn height(&self) -> u64 {
        self.one.header().height
    }

    pub(crate) fn author(&self) -> AuthorKey {
        self.one.header().author
    }
}

/// One author's headers, from height 0 on without a gap.
#[derive(Debug, Default)]
pub(crate) struct Log {
    headers: Vec<Signed>,
    /// Bytes of headers and contents up to and including each header.
    written: Vec<u64>,
    fork: Option<Box<Fork>>,
}

impl Log {
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.headers.len()).expect("no length in memory is above 2^64")
    }

    pub(crate) fn get(&self, height: u64) -> Option<&Signed> {
        self.headers.get(usize::try_from(height).ok()?)
    }

    pub(crate) fn last(&self) -> Option<&Signed> {
        self.headers.last()
    }

    /// The hash of the header below a height, zeros at 0; `None` above the end.
    pub(crate) fn head(&self, height: u64) -> Option<Digest> {
        match height.checked_sub(1) {
            None => Some(Digest::ZERO),
            Some(below) => self.get(below).map(Signed::id),
        }
    }

    /// Everything that is here, as a cut.
    pub(crate) fn cut(&self) -> Cut {
        Cut { height: self.len(), head: self.last().map_or(Digest::ZERO, Signed::id) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Signed> {
        self.headers.iter()
    }

    /// Bytes of headers and contents up to and including a height.
    pub(crate) fn written(&self, height: u64) -> u64 {
        usize::try_from(height).ok().and_then(|at| self.written.get(at)).copied().unwrap_or(0)
    }

    pub(crate) fn fork(&self) -> Option<&Fork> {
        self.fork.as_deref()
    }

    /// Takes a proof, and says whether it tells more than what was known.
    pub(crate) fn prove(&mut self, fork: Fork) -> bool {
        let news = self.fork().is_none_or(|known| fork.height() < known.height());
        if news {
            self.fork = Some(Box::new(fork));
        }
        news
    }

    /// How far replicas that know the same must agree: below a fork, unless a cut chose a branch.
    pub(crate) fn settled(&self, cut: Option<&Cut>) -> u64 {
        match (cut, self.fork()) {
            (Some(cut), Some(_)) => self.len().min(cut.height),
            (Some(cut), None) => self.len().min(cut.height.saturating_add(SET_APART_MAX)),
            (None, Some(fork)) => self.len().min(fork.height()),
            (None, None) => self.len(),
        }
    }

    pub(crate) fn push(&mut self, signed: Signed) {
        let before = self.written.last().copied().unwrap_or(0);
        let header = u64::try_from(signed.encode().len()).unwrap_or(u64::MAX);
        let content = signed.header().content.map_or(0, |content| content.len);
        self.written.push(before.saturating_add(header).saturating_add(content));
        self.headers.push(signed);
    }

    pub(crate) fn truncate(&mut self, height: u64) {
        let len = usize::try_from(height).unwrap_or(usize::MAX);
        self.headers.truncate(len);
        self.written.truncate(len);
    }
}

/// All logs of a record.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    by_author: BTreeMap<AuthorKey, Log>,
    /// Where a header is. Looked up, never walked.
    places: HashMap<Digest, (AuthorKey, u64)>,
}

impl Logs {
    pub(crate) fn get(&self, author: &AuthorKey) -> Option<&Log> {
        self.by_author.get(author)
    }

    pub(crate) fn len_of(&self, author: &AuthorKey) -> u64 {
        self.get(author).map_or(0, Log::len)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_author.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AuthorKey, &Log)> {
        self.by_author.iter()
    }

    pub(crate) fn find(&self, id: &Digest) -> Option<&Signed> {
        let (author, height) = self.places.get(id)?;
        self.get(author)?.get(*height)
    }

    pub(crate) fn entry(&mut self, author: AuthorKey) -> &mut Log {
        self.by_author.entry(author).or_default()
    }

    pub(crate) fn push(&mut self, signed: Signed) {
        let (author, height) = (signed.header().author, signed.header().height);
        self.places.insert(signed.id(), (author, height));
        self.entry(author).push(signed);
    }

    pub(crate) fn truncate(&mut self, author: &AuthorKey, height: u64) {
        let Some(log) = self.by_author.get_mut(author) else { return };
        let kept = usize::try_from(height).unwrap_or(usize::MAX);
        for gone in log.headers.iter().skip(kept) {
            self.places.remove(&gone.id());
        }
        log.truncate(height);
    }
}
