//! What the process can be asked, and what it answers: one JSON object a line in each direction.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroize;

use crate::profile::{Kind, Reach};

/// Words that open something: never shown, overwritten when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spoken(pub String);

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spoken(…)")
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One record, by the beginning of its key or by its patient's name; none where there is only one.
pub type Which = Option<String>;

/// For whom an invitation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitee {
    /// What the issuer calls them.
    pub name: Spoken,
    /// `reader`, `contributor` or `helper`.
    pub role: String,
    /// Minutes in which it can be redeemed.
    pub minutes: u32,
    /// Days after which the membership ends.
    pub days: Option<u32>,
    /// `whole`, or `from-now`.
    pub history: String,
}

/// What an entry is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// A category, such as `note`.
    pub kind: String,
    /// How to read the body.
    pub media_type: String,
    /// What is said, as it is.
    pub body: String,
    /// Why.
    pub reason: String,
}

/// What a person says to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The words are the same, and the visitor is welcome.
    Yes,
    /// They are not, or the visitor is not.
    No,
}

/// What the process can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the help of the commands, which are called the same, says what each field is"
)]
pub enum Request {
    /// How things are.
    Status,
    /// Makes a profile.
    Init { kind: Kind, name: Spoken, born: Option<String>, passphrase: Spoken, reach: Option<Reach> },
    /// Opens the store.
    Unlock { passphrase: Spoken },
    /// Closes it, and every connection.
    Lock,
    /// Changes the passphrase.
    Passwd { old: Spoken, new: Spoken },
    /// Issues an invitation.
    Invite(Invitee),
    /// Takes one back.
    Cancel { invitation: String },
    /// Uses one; the answer has the six words.
    Redeem { code: Spoken, wait: u32 },
    /// The six words of the latest redeem.
    Words,
    /// Says whether the words were the same.
    Confirm { verdict: Verdict, wait: u32 },
    /// Waits for a visitor; the answer has the six words.
    Visitors { wait: u32 },
    /// Lets the visitor in, or not.
    Accept { invitation: Option<String>, verdict: Verdict },
    /// Who can see a record, and who could.
    People { record: Which },
    /// Ends a membership.
    Revoke { person: String },
    /// Records that are here.
    Patients,
    /// Says something new.
    Add { record: Which, draft: Draft },
    /// Says it anew.
    Amend { record: Which, entry: String, draft: Draft },
    /// Hides it, with a reason.
    Retract { record: Which, entry: String, reason: String },
    /// Entries, the latest last.
    List { record: Which },
    /// One entry.
    Show { record: Which, entry: String },
    /// All its versions.
    History { record: Which, entry: String },
    /// Adds a file.
    Attach { record: Which, path: PathBuf, media_type: String, reason: String },
    /// Brings a file here and writes it.
    Fetch { record: Which, entry: String, number: usize, to: PathBuf },
    /// Destroys contents.
    Erase { record: Which, entry: String },
    /// What everybody did.
    Audit { record: Which },
    /// The owner's devices.
    Devices,
    /// Begins to wait for a new device; the answer has a code for it.
    DeviceCode { minutes: u32 },
    /// Becomes another device of an owner, with a code and the recovery phrase.
    DeviceJoin { code: Spoken, phrase: Spoken, name: Spoken, passphrase: Spoken, reach: Option<Reach> },
    /// Takes a device away, with the recovery phrase.
    DeviceRemove { device: String, phrase: Spoken },
    /// Writes a record to a file that others can read.
    Export { record: Which, to: PathBuf },
    /// Writes everything to a file that the recovery phrase opens, or a passphrase.
    Backup { to: PathBuf, passphrase: Option<Spoken> },
    /// Makes a profile of a backup.
    Restore { from: PathBuf, phrase: Option<Spoken>, backup_passphrase: Option<Spoken>, passphrase: Spoken },
    /// The network as it is.
    Net,
    /// Where to look for others from now on.
    Reach { reach: Reach },
}

/// What it answers: any number of lines of progress, and then the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// How far it is.
    Progress {
        /// Bytes or pieces done.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It is done.
    Done(Value),
    /// It is not, and why.
    Error {
        /// The name of the case.
        code: String,
        /// In words.
        message: String,
    },
}

impl Answer {
    pub(crate) fn of(outcome: Result<Value, crate::Failure>) -> Self {
        match outcome {
            Ok(value) => Self::Done(value),
            Err(failure) => {
                let mut message = failure.to_string();
                let mut source = std::error::Error::source(&failure);
                while let Some(error) = source {
                    message = format!("{message}: {error}");
                    source = error.source();
                }
                Self::Error { code: failure.code().to_owned(), message }
            }
        }
    }

    pub(crate) const fn is_last(&self) -> bool {
        !matches!(self, Self::Progress { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_documented_and_others_are_refused() {
        let read = |line: &str| serde_json::from_str::<Request>(line).ok();
        assert_eq!(read(r#"{"cmd":"status"}"#), Some(Request::Status));
        assert_eq!(read(r#"{"cmd":"list","record":null}"#), Some(Request::List { record: None }));
        assert_eq!(read(r#"{"cmd":"revoke","person":"x","more":1}"#), None);
        assert_eq!(read(r#"{"cmd":"format-disk"}"#), None);
    }

    #[test]
    fn what_opens_something_is_not_shown() {
        let request = Request::Unlock { passphrase: Spoken("open sesame".into()) };
        assert!(!format!("{request:?}").contains("sesame"));
    }
}
