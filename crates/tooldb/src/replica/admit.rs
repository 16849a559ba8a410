//! Taking records in: what is new is checked and kept, what is not costs no signature check.

use super::{Now, Replica};
use crate::crdt::{Document, Shape};
use crate::digest::Digest;
use crate::json::Value;
use crate::key::Space;
use crate::record::{Kind, Record};
use crate::store::{Store, StoreError, Write};
use crate::verify::{Claim, Receipt, Rejected, Source, Verified};

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Its author's fault.
    #[error("the record is not believed")]
    Rejected(#[from] Rejected),
    /// The document has as many parts or bytes as this node keeps, or the author has. Whoever merges a document
    /// first can write it still.
    #[error("no room for more")]
    Full,
    /// This node's fault.
    #[error("the record could not be kept")]
    Store(#[from] StoreError),
}

/// What became of a record that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It says something new, and was kept.
    New,
    /// It says something new, was kept, and took its name from another owner. What the new owner wrote before
    /// was refused here as long as the name was another's, and is to be asked for.
    TakenOver,
    /// It is beaten by what is known, but tells that the owner of its name had it earlier. Other servers must
    /// hear of that too, or they might give the name to somebody else.
    Claimed,
    /// It was known, or is beaten by what is.
    Known,
}

impl<S: Store> Replica<S> {
    pub(super) fn admit(&mut self, now: Now, record: &Record, source: Source) -> Result<Admitted, PutError> {
        let claim = match record.key().space() {
            Space::Frozen => self.store.claim(record.key())?,
            Space::Public | Space::Owned { .. } => None,
        };
        let receipt = Receipt { now: now.wall, source, claim };
        let admitted = match record.kind() {
            Kind::Plain => self.admit_plain(record, &receipt)?,
            Kind::Map | Kind::List | Kind::Custom(_) => self.admit_envelope(record, &receipt)?,
        };
        if admitted == Admitted::Known { self.admit_earlier_claim(record, &receipt) } else { Ok(admitted) }
    }

    fn admit_plain(&mut self, record: &Record, receipt: &Receipt) -> Result<Admitted, PutError> {
        let rival = receipt.claim.as_ref().is_some_and(|claim| claim.owner() != record.author());
        let stored = self.store.plain(record.key())?;
        if !rival && stored.as_ref().is_some_and(|stored| stored.order() >= record.order()) {
            return Ok(Admitted::Known);
        }
        self.welcome(record)?;
        let record = record.clone().verify(&self.config.rules, receipt)?;
        let record = self.agreed(record, stored.as_ref())?;
        let claim = claim_after(&record, receipt);
        if !rival {
            self.store.write(Write::Plain { record, claim, displaced: None })?;
            return Ok(Admitted::New);
        }
        let record = self.newer_of_owner(record, (&claim, receipt))?;
        self.store.write(Write::Plain { record, claim, displaced: stored })?;
        Ok(Admitted::TakenOver)
    }

    /// Who gets a name back may have written it before they lost it: the newer record of both counts.
    fn newer_of_owner(
        &self,
        record: Verified<Record>,
        (claim, receipt): (&Option<Claim>, &Receipt),
    ) -> Result<Verified<Record>, PutError> {
        let before = self.store.displaced(record.key(), &record.author())?;
        let Some(before) = before.filter(|before| before.order() > record.order()) else { return Ok(record) };
        let receipt = Receipt { claim: claim.clone(), ..receipt.clone() };
        Ok(before.verify(&self.config.rules, &receipt)?)
    }

    /// An owner's record that is older than the one kept still tells since when the name is theirs.
    fn admit_earlier_claim(&mut self, record: &Record, receipt: &Receipt) -> Result<Admitted, PutError> {
        let own = receipt.claim.as_ref().filter(|claim| claim.owner() == record.author());
        if own.is_none_or(|claim| claim.record.time() <= record.time()) {
            return Ok(Admitted::Known);
        }
        let record = record.clone().verify(&self.config.rules, receipt)?;
        if let Some(claim) = claim_after(&record, receipt) {
            self.store.write(Write::Claim { claim })?;
        }
        Ok(Admitted::Claimed)
    }

    fn admit_envelope(&mut self, record: &Record, receipt: &Receipt) -> Result<Admitted, PutError> {
        let rival = receipt.claim.as_ref().is_some_and(|claim| claim.owner() != record.author());
        let known = self.store.envelopes(record.key())?;
        if known.iter().any(|envelope| envelope.hash() == record.hash()) {
            return Ok(Admitted::Known);
        }
        let superseded = match Shape::of(record.kind()) {
            _ if rival => Some(known.iter().map(Record::hash).collect()),
            Some(shape) => superseded_parts(shape, record, (&known, self.config.limits.document_bytes_max))?,
            None => superseded_values(record, &known),
        };
        let Some(superseded) = superseded else { return Ok(Admitted::Known) };
        if known.len() - superseded.len() >= self.config.limits.envelopes_max {
            return Err(PutError::Full);
        }
        self.welcome(record)?;
        let record = record.clone().verify(&self.config.rules, receipt)?;
        let record = self.agreed(record, known.iter().max_by_key(|envelope| envelope.order()))?;
        let claim = claim_after(&record, receipt);
        self.store.write(Write::Envelope { record, claim, superseded })?;
        Ok(if rival { Admitted::TakenOver } else { Admitted::New })
    }
}

/// The known parts of a document that a new one makes needless; `None` if it says nothing new and does not
/// even bring parts together.
fn superseded_parts(
    shape: Shape,
    record: &Record,
    (known, bytes_max): (&[Record], usize),
) -> Result<Option<Vec<Digest>>, PutError> {
    let Some(news) = document(shape, record) else { return Err(Rejected::InvalidData.into()) };
    let same = known.iter().filter(|envelope| envelope.kind() == record.kind());
    let parts: Vec<(Digest, Document)> =
        same.filter_map(|envelope| Some((envelope.hash(), document(shape, envelope)?))).collect();
    let mut whole = Document::new(shape);
    for (_, part) in &parts {
        whole.merge(part);
    }
    let superseded: Vec<Digest> =
        parts.iter().filter(|(_, part)| news.covers(part)).map(|(hash, _)| *hash).collect();
    if !parts.is_empty() && superseded.len() < 2 && whole.covers(&news) {
        return Ok(None);
    }
    whole.merge(&news);
    if whole.to_value().to_json().len() > bytes_max { Err(PutError::Full) } else { Ok(Some(superseded)) }
}

/// The author's older values of the application's own type; `None` if one is newer.
fn superseded_values(record: &Record, known: &[Record]) -> Option<Vec<Digest>> {
    let own = |envelope: &&Record| envelope.author() == record.author() && envelope.kind() == record.kind();
    let newest = known.iter().filter(own).map(Record::order).max();
    (newest < Some(record.order())).then(|| known.iter().filter(own).map(Record::hash).collect())
}

fn claim_after(record: &Record, receipt: &Receipt) -> Option<Claim> {
    if record.key().space() != Space::Frozen {
        return None;
    }
    let own = receipt.claim.as_ref().filter(|claim| claim.owner() == record.author());
    Some(match own {
        Some(claim) if claim.record.time() <= record.time() => claim.clone(),
        Some(claim) => Claim { record: record.clone(), first_seen: claim.first_seen },
        None => Claim { record: record.clone(), first_seen: receipt.now },
    })
}

/// The document in a record's value; `None` if it is no list of operations.
pub(super) fn document(shape: Shape, record: &Record) -> Option<Document> {
    Document::from_value(shape, &Value::parse(record.value()).ok()?)
}
