//! What the logs say together: entries with their versions, what is erased, what was refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::{Authority, Refusal};
use crate::clock::Hlc;
use crate::header::Signed;
use crate::key::{AuthorKey, Digest};
use crate::log::Logs;
use crate::operation::{Change, Operation, Version};

/// An operation that has no effect, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Who signed it.
    pub author: AuthorKey,
    /// Its place in the author's log.
    pub height: u64,
    /// Its hash.
    pub id: Digest,
    /// Why.
    pub why: Refusal,
}

/// An entry: a thing that was said, in all its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Versions that change what is said, in the order of their times.
    versions: BTreeSet<(Hlc, Digest)>,
    /// Versions that others follow.
    followed: BTreeSet<Digest>,
    attestations: BTreeSet<(Hlc, Digest)>,
}

impl Entry {
    /// All versions, the earliest first; attestations are apart.
    pub fn versions(&self) -> impl Iterator<Item = Digest> {
        self.versions.iter().map(|(_, id)| *id)
    }

    /// Versions that no other follows: more than one where two people changed it without knowing of each other.
    pub fn heads(&self) -> impl Iterator<Item = Digest> {
        self.versions().filter(|id| !self.followed.contains(id))
    }

    /// Versions by which somebody stands by what was said.
    pub fn attestations(&self) -> impl Iterator<Item = Digest> {
        self.attestations.iter().map(|(_, id)| *id)
    }

    /// When the latest version was made, for ordering.
    #[must_use]
    pub fn latest(&self) -> Hlc {
        self.versions.last().map_or(Hlc(0), |(hlc, _)| *hlc)
    }

    fn add(&mut self, signed: &Signed, version: &Version) {
        let place = (signed.header().hlc, signed.id());
        if version.change == Change::Attestation {
            self.attestations.insert(place);
        } else {
            self.versions.insert(place);
            self.followed.extend(version.follows.iter().copied());
        }
    }
}

/// What the logs say together.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<Digest, Entry>,
    pub(crate) erased: BTreeSet<Digest>,
    pub(crate) refused: BTreeMap<(AuthorKey, u64), Refused>,
    pub(crate) accepted: BTreeSet<Digest>,
    /// Refusals that were not told of since everything was judged anew.
    pub(crate) fresh: Vec<Refused>,
}

impl Ledger {
    pub(crate) fn of(authority: &Authority, logs: &Logs) -> Self {
        let mut it = Self::default();
        for signed in logs.iter().flat_map(|(_, log)| log.iter()) {
            it.add(authority, logs, signed);
        }
        it
    }

    /// Takes one more header into account; it must be in the logs already.
    pub(crate) fn add(&mut self, authority: &Authority, logs: &Logs, signed: &Signed) {
        let header = signed.header();
        if let Err(why) = authority.judge(logs, signed) {
            let refused = Refused { author: header.author, height: header.height, id: signed.id(), why };
            self.refused.insert((header.author, header.height), refused);
            self.fresh.push(refused);
            return;
        }
        match &header.operation {
            Operation::Version(version) => {
                let entry = version.entry.unwrap_or_else(|| signed.id());
                self.entries.entry(entry).or_default().add(signed, version);
            }
            Operation::Erase(targets) => self.erased.extend(targets.iter().copied()),
            Operation::Accept(grant) => {
                self.accepted.insert(*grant);
            }
            _ => {}
        }
    }

    pub(crate) fn is_refused(&self, author: &AuthorKey, height: u64) -> bool {
        self.refused.contains_key(&(*author, height))
    }
}
