//! Which records are believed.


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
}
