//! What the store has of one key, and its bytes.

use tooldb::{Claim, Digest, Record, UnixMillis, Write};

use super::Seq;

/// Everything that the store has of one key.
///
/// ```text
/// seq u64le | digest 32 bytes | first seen i64le | (tag u8 | length u32le | record)*
/// tags: 1 the plain record, 2 an envelope, 3 the record that proves the claim,
///       4 the plain record, which also proves the claim, 5 a record of a former owner
/// ```
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) plain: Option<Record>,
    pub(super) envelopes: Vec<Record>,
    pub(super) claim: Option<Claim>,
    /// Of former owners of the name the newest record each, the latest owner last.
    pub(super) displaced: Vec<Record>,
}

/// Former owners of a name whose records are kept.
const DISPLACED_MAX: usize = 4;

const PLAIN: u8 = 1;
const ENVELOPE: u8 = 2;
const CLAIM: u8 = 3;
const PLAIN_AND_CLAIM: u8 = 4;
const DISPLACED: u8 = 5;

impl Entry {
    pub(super) fn apply(&mut self, write: Write) {
        let claim = match write {
            Write::Plain { record, claim, displaced } => {
                self.displaced.retain(|known| {
                    known.author() != record.author()
                        && displaced.as_ref().is_none_or(|d| d.author() != known.author())
                });
                self.displaced.extend(displaced);
                if self.displaced.len() > DISPLACED_MAX {
                    self.displaced.remove(0);
                }
                self.plain = Some(record.into_inner());
                claim
            }
            Write::Envelope { record, claim, superseded } => {
                self.envelopes.retain(|envelope| !superseded.contains(&envelope.hash()));
                self.envelopes.push(record.into_inner());
                claim
            }
            Write::Claim { claim } => Some(claim),
        };
        if claim.is_some() {
            self.claim = claim;
        }
    }

    /// The records that a write takes away.
    pub(super) fn leaving(&self, write: &Write) -> Vec<&Record> {
        match write {
            Write::Plain { .. } => self.plain.iter().collect(),
            Write::Envelope { superseded, .. } => self.with_hashes(superseded),
            Write::Claim { .. } => Vec::new(),
        }
    }

    fn with_hashes(&self, hashes: &[Digest]) -> Vec<&Record> {
        self.envelopes.iter().filter(|envelope| hashes.contains(&envelope.hash())).collect()
    }

    /// All records, each once: what others need to be given to know as much.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let claim = self.claim.as_ref().map(|claim| &claim.record);
        let claim = claim.filter(|claim| {
            self.plain.as_ref() != Some(*claim) && self.envelopes.iter().all(|envelope| envelope != *claim)
        });
        claim.into_iter().chain(&self.plain).chain(&self.envelopes)
    }

    /// What there is, for comparing with other stores.
    pub(super) fn digest(&self) -> Digest {
        let claim = self.claim.as_ref().map(|claim| &claim.record);
        tooldb::digest_of(self.plain.as_ref(), &self.envelopes, claim)
    }

    /// The digest of an encoded entry, without reading its records.
    pub(super) fn digest_in(bytes: &[u8]) -> Option<Digest> {
        bytes.get(8..)?.first_chunk().copied().map(Digest)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let first_seen = self.claim.as_ref().map_or(0, |claim| claim.first_seen.0);
        let mut out = self.seq.0.to_le_bytes().to_vec();
        out.extend(self.digest().0);
        out.extend(first_seen.to_le_bytes());
        let claim = self.claim.as_ref().map(|claim| &claim.record);
        let plain_claims = self.plain.is_some() && claim == self.plain.as_ref();
        if let Some(plain) = &self.plain {
            push(&mut out, (if plain_claims { PLAIN_AND_CLAIM } else { PLAIN }, plain));
        }
        for envelope in &self.envelopes {
            push(&mut out, (ENVELOPE, envelope));
        }
        for record in &self.displaced {
            push(&mut out, (DISPLACED, record));
        }
        if let Some(claim) = claim.filter(|_| !plain_claims) {
            push(&mut out, (CLAIM, claim));
        }
        out
    }

    /// Reads an entry; `None` if it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (_, rest) = rest.split_first_chunk::<32>()?;
        let (first_seen, mut rest) = rest.split_first_chunk()?;
        let first_seen = UnixMillis(i64::from_le_bytes(*first_seen));
        let mut entry = Self { seq: Seq(u64::from_le_bytes(*seq)), ..Self::default() };
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (text, after) = after.split_at_checked(length)?;
            let record = Record::parse(str::from_utf8(text).ok()?).ok()?;
            let claim = || Claim { record: record.clone(), first_seen };
            match *tag {
                PLAIN => entry.plain = Some(record),
                ENVELOPE => entry.envelopes.push(record),
                CLAIM => entry.claim = Some(claim()),
                DISPLACED => entry.displaced.push(record),
                PLAIN_AND_CLAIM => {
                    entry.claim = Some(claim());
                    entry.plain = Some(record);
                }
                _ => return None,
            }
            rest = after;
        }
        Some(entry)
    }
}

fn push(out: &mut Vec<u8>, (tag, record): (u8, &Record)) {
    out.push(tag);
    let length = u32::try_from(record.raw().len()).expect("a record is smaller than a frame");
    out.extend(length.to_le_bytes());
    out.extend(record.raw().as_bytes());
}
