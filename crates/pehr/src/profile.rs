//! Who uses this directory, and where others may be looked for: kept in the vault, like everything about a person.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vault::Vault;

use crate::failure::Failure;
use crate::request::Spoken;

/// The name of the profile among the notes of the vault.
const NOTE: &str = "profile";

/// What a profile is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Owns a record.
    Patient,
    /// Is invited to those of others.
    Provider,
}

/// Where others are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The public network.
    Public,
    /// A network of one's own: its bootstrap nodes.
    Private(Vec<String>),
    /// Nowhere: no socket is opened, no packet sent.
    Offline,
}

/// Who uses this directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) kind: Kind,
    pub(crate) name: Spoken,
    pub(crate) reach: Reach,
    /// Records, by key, whose owner said that the membership is over.
    #[serde(default)]
    pub(crate) ended: BTreeSet<String>,
}

impl Profile {
    pub(crate) fn load(vault: &Vault) -> Result<Self, Failure> {
        let bytes = vault.note(NOTE)?.ok_or(Failure::NoProfile)?;
        serde_json::from_slice(&bytes).map_err(|_| vault::VaultError::Damaged(vault.path().to_owned()).into())
    }

    pub(crate) fn save(&self, vault: &Vault) -> Result<(), Failure> {
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(self).expect("names and words become JSON"));
        Ok(vault.set_note(NOTE, Some(&bytes))?)
    }
}
