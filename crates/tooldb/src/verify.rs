//! Which records are believed.

use std::ops::Deref;
use std::time::Duration;

use crate::key::Space;
use crate::keys::Address;
use crate::pow::Difficulty;
use crate::record::{Record, UnixMillis};

/// Why a record is not believed. The names are those of the library's own verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// A member is missing or of the wrong type.
    #[error("malformed record")]
    InvalidData,
    /// Key or value are larger than this node stores.
    #[error("record too large")]
    TooLarge,
    /// The author's clock is too far ahead.
    #[error("timestamp in the future")]
    InvalidTimestamp,
    /// The key belongs to another address.
    #[error("key belongs to another address")]
    AddressMismatch,
    /// The name was claimed by another address.
    #[error("name claimed by another address")]
    CantOverwrite,
    /// The hash lacks the zeros that this network asks for.
    #[error("not enough proof of work")]
    NoProofOfWork,
    /// The hash is not that of the content.
    #[error("hash does not fit the content")]
    InvalidHashNonce,
    /// The author did not sign this hash.
    #[error("signature does not fit")]
    InvalidSignature,
    /// The operator of this node takes nothing from this author.
    #[error("author is banned here")]
    Banned,
    /// A rule of the application refused it.
    #[error("refused by a rule of the application")]
    Refused,
}

/// What a node asks of records beyond their being genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Proof of work that the network agreed on.
    pub difficulty: Difficulty,
    /// How far ahead of ours an author's clock may be; whoever is ahead wins over honest writers for as long.
    pub ahead_max: Duration,
    /// Bytes of a value's JSON text.
    pub value_bytes_max: usize,
    /// For how long after a name was first claimed a stranger may bring an older claim to it.
    ///
    /// An author chooses the timestamp, so within this time names can be stolen by back-dating. Zero leaves
    /// that to [`Source::Trusted`] links, over which claims made on both sides of a partition meet.
    pub claim_window: Duration,
}

impl Default for Rules {
    /// The library's 30 seconds, no work, values of half a default frame, no back-dated claims.
    fn default() -> Self {
        Self {
            difficulty: Difficulty(0),
            ahead_max: Duration::from_secs(30),
            value_bytes_max: 512 * 1024,
            claim_window: Duration::ZERO,
        }
    }
}

/// Bytes of a record beside its value: the key with every byte escaped, and room for members that extend the
/// protocol.
const BESIDE_VALUE_MAX: usize = 16 * 1024;

/// Who brought a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Anybody: a client, or a server that merely says it is one.
    Stranger,
    /// A server that this node's operator named as one of the same federation.
    Trusted,
}

/// The ownership of a `==` name, with the record that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The owner's earliest record of the name that this node has seen. Others can check it, and compare its
    /// timestamp with that of a rival's.
    pub record: Record,
    /// When this node first saw a record of the owner's, by its own clock.
    pub first_seen: UnixMillis,
}

impl Claim {
    /// Who may write the name.
    pub fn owner(&self) -> Address {
        self.record.author()
    }

    /// Tells whether a rival's claim is the better one wherever both are seen: older, or of equal age and
    /// from the address that sorts first as text.
    pub fn yields_to(&self, rival: &Record) -> bool {
        let addresses = || rival.author().to_string().cmp(&self.owner().to_string());
        rival.time().cmp(&self.record.time()).then_with(addresses).is_lt()
    }
}

/// The circumstances under which a record arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// When, by this node's clock.
    pub now: UnixMillis,
    /// From whom.
    pub source: Source,
    /// Who owns the record's key, if it is a `==` name that was claimed.
    pub claim: Option<Claim>,
}

/// A value that was checked. Only [`Record::verify`] makes one of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Gives the value away, and with it the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Record {
    /// Checks a record, cheapest first and the signature last.
    ///
    /// # Errors
    ///
    /// The first rule that the record breaks.
    pub fn verify(self, rules: &Rules, receipt: &Receipt) -> Result<Verified<Self>, Rejected> {
        let beside = self.raw().len() - self.value().len();
        if self.value().len() > rules.value_bytes_max || beside > BESIDE_VALUE_MAX {
            return Err(Rejected::TooLarge);
        }
        if self.time() > receipt.now.plus(rules.ahead_max) {
            return Err(Rejected::InvalidTimestamp);
        }
        match self.key().space() {
            Space::Public => {}
            Space::Owned { owner } if owner == self.author().to_string() => {}
            Space::Owned { .. } => return Err(Rejected::AddressMismatch),
            Space::Frozen => rules.check_claim(&self, receipt)?,
        }
        if !rules.difficulty.met_by(&self.hash()) {
            return Err(Rejected::NoProofOfWork);
        }
        if self.is_genuine() {
            return Ok(Verified(self));
        }
        if !self.hash_fits() {
            return Err(Rejected::InvalidHashNonce);
        }
        if !self.signature_fits() {
            return Err(Rejected::InvalidSignature);
        }
        Ok(Verified(self))
    }
}

impl Rules {
    fn check_claim(&self, record: &Record, receipt: &Receipt) -> Result<(), Rejected> {
        let rival = |claim: &&Claim| claim.owner() != record.author();
        let Some(claim) = receipt.claim.as_ref().filter(rival) else { return Ok(()) };
        let heard = match receipt.source {
            Source::Trusted => true,
            Source::Stranger => receipt.now < claim.first_seen.plus(self.claim_window),
        };
        if heard && claim.yields_to(record) { Ok(()) } else { Err(Rejected::CantOverwrite) }
    }
}
