//! What the process says when it cannot do what it was asked.

use chart::{AttachmentError, Declined, StoreError, TooLarge, WriteError};
use vault::{BackupError, OpenError, RestoreError, VaultError};

/// Why a request was not carried out, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing was set up in the directory.
    #[error(
        "there is no profile here; run: pehr init --patient --name NAME, or pehr init --provider --name NAME"
    )]
    NoProfile,
    /// One directory holds one profile.
    #[error("a profile is here already; name another directory with --data-dir")]
    ProfileExists,
    /// The passphrase was not given yet.
    #[error("the store is locked; run: pehr unlock")]
    Locked,
    /// It is open already.
    #[error("the store is open already")]
    NotLocked,
    /// Nothing has that name.
    #[error("no {kind} is called {name:?}; run: {list}")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// As it was named.
        name: String,
        /// The command that lists them.
        list: &'static str,
    },
    /// Several have that name.
    #[error("{name:?} names more than one {kind}; give more of its key")]
    Ambiguous {
        /// What was looked for.
        kind: &'static str,
        /// As it was named.
        name: String,
    },
    /// Only a patient's own device can do this.
    #[error("only the owner of a record can do this")]
    NotOwner,
    /// A value does not mean anything.
    #[error("{what} must be {wanted}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// An invitation came to nothing.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// Nobody could be reached with the invitation.
    #[error(
        "nobody answers to this invitation: is the other's program running, and the invitation still open?"
    )]
    NobodyThere,
    /// The connection of a pairing ended before its end.
    #[error("the connection was lost before it was done; ask for another invitation")]
    Parted,
    /// There is nothing to wait for.
    #[error("nobody is waiting here")]
    NobodyWaiting,
    /// It takes longer than the caller wants to wait.
    #[error("nothing came of it in time; it goes on, ask again")]
    Late,
    /// The network is switched off.
    #[error("this profile stays offline; run: pehr net --public, or --bootstrap HOST:PORT")]
    Offline,
    /// The entry has no such file.
    #[error("the entry has no such attachment")]
    NoAttachment,
    /// The process is about to end.
    #[error("the process is ending")]
    Ending,
    /// The record refused.
    #[error(transparent)]
    Record(#[from] WriteError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An attachment cannot be read.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// A backup was not made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A backup was not brought back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Nothing is known to which a backup could be sealed.
    #[error(
        "this device never saw the recovery phrase: give the backup a passphrase, with --backup-passphrase-file"
    )]
    NoRecipient,
    /// A file is too large to attach.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The phrase has a wrong word, or it is another record's.
    #[error("the recovery phrase is wrong: check each of its 24 words")]
    Phrase,
    /// The network could not be started.
    #[error("the network cannot be started")]
    Network(#[from] node::SpawnError),
    /// The node ended.
    #[error(transparent)]
    Stopped(#[from] node::Stopped),
    /// The system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: std::path::PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Record(error) => Self::Record(error),
            OpenError::Vault(error) => Self::Vault(error),
            other => Self::Store(StoreError(Box::new(other))),
        }
    }
}

impl Failure {
    /// The name of the case for programs; `pehr --help` says which exit code belongs to it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoProfile => "no-profile",
            Self::ProfileExists => "profile-exists",
            Self::Locked => "locked",
            Self::NotLocked => "not-locked",
            Self::NotFound { .. } => "not-found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NotOwner => "not-owner",
            Self::Invalid { .. } | Self::TooLarge(_) | Self::NoRecipient => "usage",
            Self::Declined(Declined::AlreadyUsed) => "already-used",
            Self::Declined(Declined::Expired) => "expired",
            Self::Declined(Declined::Cancelled) => "cancelled",
            Self::Declined(Declined::ByPerson) => "declined",
            Self::Declined(Declined::Unknown) => "no-invitation",
            Self::Declined(_) => "offence",
            Self::NobodyThere => "nobody-there",
            Self::Parted => "parted",
            Self::NobodyWaiting => "nobody-waiting",
            Self::Late => "late",
            Self::Offline => "offline",
            Self::NoAttachment => "no-attachment",
            Self::Ending | Self::Stopped(_) => "ending",
            Self::Record(WriteError::Refused(_)) => "refused",
            Self::Record(WriteError::Ended) => "ended",
            Self::Record(WriteError::Behind | WriteError::NotYet | WriteError::NoKey) => "not-yet",
            Self::Record(WriteError::Store(_)) | Self::Store(_) => "store",
            Self::Record(_) => "record",
            Self::Vault(VaultError::WrongPassphrase) => "wrong-passphrase",
            Self::Vault(VaultError::UnknownVersion { .. }) => "unknown-version",
            Self::Vault(_)
            | Self::Backup(_)
            | Self::Restore(RestoreError::Vault(_) | RestoreError::Store(_)) => "vault",
            Self::Restore(RestoreError::Age(_)) => "not-opened",
            Self::Attachment(AttachmentError::Missing) => "missing",
            Self::Attachment(_) | Self::Restore(_) => "damaged",
            Self::Phrase => "phrase",
            Self::Network(_) => "network",
            Self::File { .. } => "file",
        }
    }
}

/// Says which file it was.
pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { action, path, source }
}
