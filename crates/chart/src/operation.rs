//! What a header says: the public part of every act on a record.

use crate::bytes::{DecodeError, Reader, Writer};
use crate::clock::UnixMillis;
use crate::key::{AuthorKey, Digest, SealKey};
use crate::root::{Certificate, Cut, Genesis, Removal};

/// Sets in one operation: recipients, versions that are followed, erased versions, blobs.
const SET_MAX: usize = 64;
/// Bytes of a key pair that is sealed (one-time key 32, two keys 64, tag 16) or boxed (twice 72).
const SEALED_MAX: usize = 144;

/// A part of a record that is shared or not as a whole. Scope 0 is what every member reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(u8);

impl Scope {
    /// What every member reads.
    pub const GENERAL: Self = Self(0);
    /// Scopes of a record.
    pub const COUNT: u8 = 16;

    /// Names a scope below [`Scope::COUNT`].
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(r.u8()?).ok_or(DecodeError::OutOfRange)
    }
}

/// Defines an enumeration of one byte.
macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $byte:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$item_doc])* $item = $byte,)* }

        impl $name {
            pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                match r.u8()? {
                    $($byte => Ok(Self::$item),)*
                    other => Err(DecodeError::UnknownTag(other)),
                }
            }

            pub(crate) const fn byte(self) -> u8 {
                self as u8
            }
        }
    };
}

byte_enum!(
    /// What a member may do.
    Role {
        /// Read.
        Reader = 1,
        /// Read, and write entries of their own.
        Contributor = 2,
        /// Keep and pass on what it cannot read.
        Helper = 3,
    }
);

byte_enum!(
    /// What a member may read of the time before the grant.
    History {
        /// Everything in their scopes.
        Whole = 1,
        /// Only what is written from the grant on.
        FromGrant = 2,
    }
);

byte_enum!(
    /// Why a version came to be, in the terms of openEHR.
    Change {
        /// 249: the first version.
        Creation = 1,
        /// 250: a correction or an addition by its author.
        Amendment = 2,
        /// 251: another state of the same thing.
        Modification = 3,
        /// 523: hidden, with a reason.
        Retraction = 4,
        /// 666: somebody stands by what another wrote.
        Attestation = 5,
    }
);

impl Change {
    /// The code of openEHR's terminology, group "audit change type" (TERM 3.1.0).
    #[must_use]
    pub const fn openehr_code(self) -> u16 {
        match self {
            Self::Creation => 249,
            Self::Amendment => 250,
            Self::Modification => 251,
            Self::Retraction => 523,
            Self::Attestation => 666,
        }
    }
}

byte_enum!(
    /// What happened, where no other operation says so.
    Act {
        /// Entries were brought in from a file.
        Import = 1,
        /// The record or a part of it was written to a file.
        Export = 2,
        /// A key tried what it may not.
        Refused = 3,
        /// A member's program says that its person read something.
        Read = 4,
        /// Somebody erased what a member had asked to erase.
        ErasureDone = 5,
        /// A backup was made.
        Backup = 6,
    }
);

/// A member and the keys sealed to it: `author 32 | sealed bytes`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealedTo {
    /// Whose log.
    pub author: AuthorKey,
    /// The epoch's content key, and its history key for those who may read what was before.
    pub keys: Vec<u8>,
}

/// Makes someone a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Their log in this record.
    pub grantee: AuthorKey,
    /// What is sealed to them.
    pub seal: SealKey,
    /// What they may do.
    pub role: Role,
    /// What they may read of the time before.
    pub history: History,
    /// What they may read and write.
    pub scopes: Vec<Scope>,
    /// When sessions with them end, by the clock of whoever holds the session.
    pub expires: Option<UnixMillis>,
    /// Bytes of headers and contents that they may write in all.
    pub quota: u64,
    /// The invitation that they came by.
    pub invitation: Option<Digest>,
}

/// Ends a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose log.
    pub author: AuthorKey,
    /// What of it still counts.
    pub cut: Cut,
}

/// New keys for a scope; the hash of its header is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// For what.
    pub scope: Scope,
    /// Epochs in whose place it comes.
    pub supersedes: Vec<Digest>,
    /// Both keys for the recovery phrase.
    pub recovery: Vec<u8>,
    /// The keys for each member.
    pub members: Vec<SealedTo>,
    /// Keys of earlier epochs, in boxes of this one's history key.
    pub previous: Vec<(Digest, Vec<u8>)>,
}

/// Keys of epochs for somebody who was no member when they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// For whom.
    pub to: AuthorKey,
    /// By epoch.
    pub keys: Vec<(Digest, Vec<u8>)>,
}

/// A version of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Why.
    pub change: Change,
    /// The creation of the entry; `None` if this is one.
    pub entry: Option<Digest>,
    /// Versions that this one follows.
    pub follows: Vec<Digest>,
    /// Where it belongs.
    pub scope: Scope,
    /// Roots of attachments.
    pub blobs: Vec<Digest>,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// What.
    pub act: Act,
    /// The key or the hash that it is about.
    pub about: Option<Digest>,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An owner device begins its log.
    Enrol(Genesis, Certificate),
    /// The root takes an owner device away.
    Remove(Removal),
    /// An owner makes someone a member.
    Grant(Grant),
    /// A member takes the grant and begins its log.
    Accept(Digest),
    /// An owner ends a membership.
    Revoke(Revocation),
    /// New keys.
    Epoch(Epoch),
    /// Keys for one member.
    Share(Share),
    /// A version of an entry.
    Version(Version),
    /// Something happened.
    Audit(Audit),
    /// Contents of versions are to be destroyed everywhere.
    Erase(Vec<Digest>),
}

impl Operation {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            1 => Self::Enrol(Genesis::read(r)?, Certificate::read(r)?),
            2 => Self::Remove(Removal::read(r)?),
            3 => Self::Grant(read_grant(r)?),
            4 => Self::Accept(Digest::read(r)?),
            5 => Self::Revoke(Revocation { author: AuthorKey::read(r)?, cut: Cut::read(r)? }),
            6 => Self::Epoch(read_epoch(r)?),
            7 => Self::Share(Share { to: AuthorKey::read(r)?, keys: read_keys(r)? }),
            8 => Self::Version(read_version(r)?),
            9 => Self::Audit(Audit { act: Act::read(r)?, about: r.option(Digest::read)? }),
            10 => Self::Erase(r.set(SET_MAX, Digest::read)?),
            tag => return Err(DecodeError::UnknownTag(tag)),
        })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Enrol(genesis, certificate) => {
                w.u8(1);
                genesis.write(w);
                certificate.write(w);
            }
            Self::Remove(removal) => {
                w.u8(2);
                removal.write(w);
            }
            Self::Grant(grant) => write_grant(w, grant),
            Self::Accept(grant) => grant.write(w.u8(4)),
            Self::Revoke(revocation) => {
                revocation.author.write(w.u8(5));
                revocation.cut.write(w);
            }
            Self::Epoch(epoch) => write_epoch(w, epoch),
            Self::Share(share) => {
                share.to.write(w.u8(7));
                write_keys(w, &share.keys);
            }
            Self::Version(version) => write_version(w, version),
            Self::Audit(audit) => {
                w.u8(9).u8(audit.act.byte()).option(audit.about, |w, about| about.write(w));
            }
            Self::Erase(targets) => {
                w.u8(10).list(targets, |w, target| target.write(w));
            }
        }
    }
}

fn read_grant(r: &mut Reader<'_>) -> Result<Grant, DecodeError> {
    Ok(Grant {
        grantee: AuthorKey::read(r)?,
        seal: SealKey::read(r)?,
        role: Role::read(r)?,
        history: History::read(r)?,
        scopes: r.set(usize::from(Scope::COUNT), Scope::read)?,
        expires: r.option(UnixMillis::read)?,
        quota: r.uint()?,
        invitation: r.option(Digest::read)?,
    })
}

fn write_grant(w: &mut Writer, grant: &Grant) {
    grant.grantee.write(w.u8(3));
    grant.seal.write(w);
    w.u8(grant.role.byte()).u8(grant.history.byte());
    w.list(&grant.scopes, |w, scope| {
        w.u8(scope.number());
    });
    w.option(grant.expires, |w, time| time.write(w));
    w.uint(grant.quota).option(grant.invitation, |w, invitation| invitation.write(w));
}

fn read_epoch(r: &mut Reader<'_>) -> Result<Epoch, DecodeError> {
    Ok(Epoch {
        scope: Scope::read(r)?,
        supersedes: r.set(SET_MAX, Digest::read)?,
        recovery: r.bytes(SEALED_MAX)?.to_vec(),
        members: r.set(SET_MAX, |r| {
            Ok(SealedTo { author: AuthorKey::read(r)?, keys: r.bytes(SEALED_MAX)?.to_vec() })
        })?,
        previous: read_keys(r)?,
    })
}

fn write_epoch(w: &mut Writer, epoch: &Epoch) {
    w.u8(6).u8(epoch.scope.number()).list(&epoch.supersedes, |w, id| id.write(w)).bytes(&epoch.recovery);
    w.list(&epoch.members, |w, member| {
        w.raw(&member.author.0).bytes(&member.keys);
    });
    write_keys(w, &epoch.previous);
}

fn read_keys(r: &mut Reader<'_>) -> Result<Vec<(Digest, Vec<u8>)>, DecodeError> {
    r.set(SET_MAX, |r| Ok((Digest::read(r)?, r.bytes(SEALED_MAX)?.to_vec())))
}

fn write_keys(w: &mut Writer, keys: &[(Digest, Vec<u8>)]) {
    w.list(keys, |w, (epoch, key)| {
        w.raw(&epoch.0).bytes(key);
    });
}

fn read_version(r: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let change = Change::read(r)?;
    let version = Version {
        change,
        entry: r.option(Digest::read)?,
        follows: r.set(SET_MAX, Digest::read)?,
        scope: Scope::read(r)?,
        blobs: r.set(SET_MAX, Digest::read)?,
    };
    // Only a creation stands at the beginning of an entry, and it follows nothing.
    let begins = change == Change::Creation;
    if version.entry.is_none() != begins || version.follows.is_empty() != begins {
        return Err(DecodeError::NotCanonical);
    }
    Ok(version)
}

fn write_version(w: &mut Writer, version: &Version) {
    w.u8(8).u8(version.change.byte()).option(version.entry, |w, entry| entry.write(w));
    w.list(&version.follows, |w, id| id.write(w)).u8(version.scope.number());
    w.list(&version.blobs, |w, id| id.write(w));
}

/// Members beside the owner's devices, so that an epoch has room for all of them.
pub(crate) const MEMBERS_MAX: usize = SET_MAX;

/// Whether a number of items fits an operation.
pub(crate) const fn fits(count: usize) -> bool {
    count <= SET_MAX
}
