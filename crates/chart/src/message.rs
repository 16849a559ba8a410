//! What two replicas say to each other, one message a frame.

use crate::bytes::{DecodeError, Reader, whole, written};
use crate::header::{CONTENT_MAX, HEADER_MAX, Signed};
use crate::journal::{decode_fork, encode_fork};
use crate::key::{AuthorKey, Digest, Signature};
use crate::log::{Fork, LOGS_MAX};

/// Bytes of a frame; larger ones end the connection.
pub const FRAME_MAX: usize = 512 * 1024;

/// Headers in one message.
pub(crate) const BATCH_MAX: usize = 512;

/// Contents asked for at a time.
pub(crate) const WANT_MAX: usize = 32;

/// Bytes of a chunk or page of an attachment.
pub(crate) const BLOB_MAX: usize = 64 * 1024 + 16;

/// The version of the conversation. Others are refused with a word, not guessed at.
pub(crate) const PROTOCOL_VERSION: u8 = 1;

/// Why a side ends a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Bye {
    /// Another version of the conversation is needed.
    Version = 1,
    /// The other is no member.
    Stranger = 2,
    /// The other was revoked or removed.
    Revoked = 3,
    /// The other's grant has run out.
    Expired = 4,
    /// The other said what nobody may say.
    Offence = 5,
    /// The other did not prove in time who it is.
    Late = 6,
    /// This side is going away.
    Leaving = 7,
}

impl Bye {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let all = [
            Self::Version,
            Self::Stranger,
            Self::Revoked,
            Self::Expired,
            Self::Offence,
            Self::Late,
            Self::Leaving,
        ];
        let tag = r.u8()?;
        all.into_iter().find(|bye| *bye as u8 == tag).ok_or(DecodeError::UnknownTag(tag))
    }
}

/// How far a log goes at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogHead {
    /// Whose log.
    pub author: AuthorKey,
    /// Headers.
    pub height: u64,
    /// The hash of the last, zeros where there is none.
    pub head: Digest,
}

/// A header and, where the receiver may have them, its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The header.
    pub signed: Signed,
    /// The contents.
    pub content: Option<Vec<u8>>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// The first: fresh chance, and a tag that only those can make who know the record.
    Hello {
        /// Fresh for each connection.
        nonce: [u8; 32],
        /// Over nonce, connection and side, keyed with the record's name.
        tag: [u8; 32],
    },
    /// Who is behind this connection.
    Proof {
        /// Its log.
        author: AuthorKey,
        /// Over the connection and both nonces.
        signature: Signature,
        /// The beginning of its log if it is an owner device, which proves that it is one.
        first: Option<Box<Signed>>,
    },
    /// What this side has; a lower height than before asks for more again.
    Heads(Vec<LogHead>),
    /// Headers, those of one author in their order.
    Batch(Vec<Piece>),
    /// A proof that an author contradicted itself.
    Forked(Box<Fork>),
    /// Contents that this side lacks.
    Want(Vec<(AuthorKey, u64)>),
    /// Contents that the other lacked; none if they are not here or not for the other.
    Content {
        /// Whose log.
        author: AuthorKey,
        /// Which header.
        height: u64,
        /// The bytes.
        content: Option<Vec<u8>>,
    },
    /// A part of an attachment that this side lacks.
    WantBlob(Digest),
    /// The part, or that it is not here.
    Blob {
        /// Its hash.
        id: Digest,
        /// Its bytes.
        bytes: Option<Vec<u8>>,
    },
    /// The last.
    Bye(Bye),
}

impl Message {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// On bytes that are not exactly one message in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > FRAME_MAX {
            return Err(DecodeError::OutOfRange);
        }
        whole(bytes, |r| {
            Ok(match r.u8()? {
                1 => {
                    let version = r.u8()?;
                    if version != PROTOCOL_VERSION {
                        return Err(DecodeError::UnknownVersion(version));
                    }
                    Self::Hello { nonce: r.array()?, tag: r.array()? }
                }
                2 => Self::Proof {
                    author: AuthorKey::read(r)?,
                    signature: Signature::read(r)?,
                    first: r.option(|r| Signed::decode(r.bytes(HEADER_MAX)?).map(Box::new))?,
                },
                3 => Self::Heads(r.set(LOGS_MAX, |r| {
                    Ok(LogHead { author: AuthorKey::read(r)?, height: r.uint()?, head: Digest::read(r)? })
                })?),
                4 => Self::Batch(r.list(BATCH_MAX, read_piece)?),
                5 => Self::Forked(Box::new(decode_fork(r.bytes(2 * HEADER_MAX + 16)?)?)),
                6 => Self::Want(r.set(WANT_MAX, |r| Ok((AuthorKey::read(r)?, r.uint()?)))?),
                7 => Self::Content {
                    author: AuthorKey::read(r)?,
                    height: r.uint()?,
                    content: r.option(|r| r.bytes(CONTENT_MAX).map(<[u8]>::to_vec))?,
                },
                8 => Self::WantBlob(Digest::read(r)?),
                9 => Self::Blob {
                    id: Digest::read(r)?,
                    bytes: r.option(|r| r.bytes(BLOB_MAX).map(<[u8]>::to_vec))?,
                },
                10 => Self::Bye(Bye::read(r)?),
                tag => return Err(DecodeError::UnknownTag(tag)),
            })
        })
    }

    /// Writes a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(|w| match self {
            Self::Hello { nonce, tag } => {
                w.u8(1).u8(PROTOCOL_VERSION).raw(nonce).raw(tag);
            }
            Self::Proof { author, signature, first } => {
                w.u8(2).raw(&author.0).raw(&signature.0).option(first.as_ref(), |w, first| {
                    w.bytes(&first.encode());
                });
            }
            Self::Heads(heads) => {
                w.u8(3).list(heads, |w, head| {
                    w.raw(&head.author.0).uint(head.height).raw(&head.head.0);
                });
            }
            Self::Batch(pieces) => {
                w.u8(4).list(pieces, |w, piece| {
                    w.bytes(&piece.signed.encode());
                    w.option(piece.content.as_ref(), |w, content| {
                        w.bytes(content);
                    });
                });
            }
            Self::Forked(fork) => {
                w.u8(5).bytes(&encode_fork(fork));
            }
            Self::Want(places) => {
                w.u8(6).list(places, |w, (author, height)| {
                    w.raw(&author.0).uint(*height);
                });
            }
            Self::Content { author, height, content } => {
                w.u8(7).raw(&author.0).uint(*height).option(content.as_ref(), |w, content| {
                    w.bytes(content);
                });
            }
            Self::WantBlob(id) => {
                w.u8(8).raw(&id.0);
            }
            Self::Blob { id, bytes } => {
                w.u8(9).raw(&id.0).option(bytes.as_ref(), |w, bytes| {
                    w.bytes(bytes);
                });
            }
            Self::Bye(bye) => {
                w.u8(10).u8(*bye as u8);
            }
        })
    }
}

fn read_piece(r: &mut Reader<'_>) -> Result<Piece, DecodeError> {
    Ok(Piece {
        signed: Signed::decode(r.bytes(HEADER_MAX)?)?,
        content: r.option(|r| r.bytes(CONTENT_MAX).map(<[u8]>::to_vec))?,
    })
}
