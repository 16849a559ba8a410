//! A health record as a machine: signed versions, grants, epoch keys, merge, invitations; without I/O, clock or
//! entropy.
//!
//! A record belongs to whoever holds its root key. Devices and people write logs of signed headers, one each; what
//! they say lies apart, encrypted. Which operations count follows from the logs alone, so that all replicas that
//! have the same logs show the same record. `docs/format/chart.md` has the bytes.

mod authority;
mod blob;
mod bytes;
mod chart;
mod clock;
mod event;
mod header;
mod invitation;
mod journal;
mod key;
mod keyring;
mod ledger;
mod link;
mod log;
mod message;
mod operation;
mod pairing;
mod relation;
mod root;
mod seal;
mod statement;
mod store;

pub use authority::Refusal;
pub use blob::{ATTACHMENT_MAX, AttachmentError, CHUNK_LEN, Parts, Sealer, TooLarge};
pub use bytes::DecodeError;
pub use chart::{Chart, GrantDraft, Person, Reading, WriteError};
pub use clock::{Hlc, Now, UnixMillis};
pub use event::Event;
pub use header::{ContentRef, HEADER_MAX, Header, STATEMENT_MAX, Signed};
pub use invitation::{Invitation, InvitationState, Invited, Issued, NotAnInvitation};
pub use journal::{CutOff, Intake};
pub use key::{AuthorKey, Digest, Identity, RecordId, SealKey, Secret, Signature};
pub use ledger::{Entry, Refused};
pub use link::{Channel, LINKS_MAX, LinkId, Side, TooManyLinks};
pub use log::{Fork, LOG_MAX, LOGS_MAX, SET_APART_MAX};
pub use message::{Bye, FRAME_MAX, LogHead, Message, Piece};
pub use operation::{
    Act, Audit, Change, Epoch, Grant, History, Operation, Revocation, Role, Scope, SealedTo, Share, Version,
};
pub use pairing::{
    Declined, Knock, PAIRING_FRAME_MAX, PairingMessage, PairingState, Reception, SixWords, Visit, Visitor,
};
pub use relation::{Day, Relation};
pub use root::{Certificate, Cut, FORMAT_VERSION, Genesis, NotAPhrase, Removal, Root};
pub use statement::{Attachment, Private, Statement};
pub use store::{Archive, Slot, StoreError, Write};
