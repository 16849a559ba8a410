//! The two ways to a file's key: X25519 and a passphrase.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use chart::{Root, Secret};
use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE64_NOPAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::header::{Stanza, base64};
use super::{AgeError, Work, expand};
use crate::error::VaultError;
use crate::passphrase::Passphrase;
use crate::seal::draw_secret;

const RECIPIENT: Hrp = Hrp::parse_unchecked("age");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");
const X25519: &str = "X25519";
const SCRYPT: &str = "scrypt";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// A file's key.
type FileKey = [u8; 16];

/// Text that is no key of `age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no key of age")]
pub struct NotABackupKey;

/// Whom a backup is for, as `age` writes it: `age1…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackupRecipient(pub [u8; 32]);

impl BackupRecipient {
    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<Stanza, AgeError> {
        let once = draw_secret()?;
        let share = MontgomeryPoint::mul_base_clamped(*once.expose()).0;
        let key = wrapping(&once, self, &share, self).ok_or(AgeError::WrongKey)?;
        let arguments = vec![X25519.to_owned(), BASE64_NOPAD.encode(&share)];
        Ok(Stanza { arguments, body: wrap(&key, file_key) })
    }
}

impl fmt::Display for BackupRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32, _>(f, RECIPIENT, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for BackupRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BackupRecipient {
    type Err = NotABackupKey;

    fn from_str(text: &str) -> Result<Self, NotABackupKey> {
        bytes(text, RECIPIENT).map(|bytes| Self(*bytes))
    }
}

/// What opens backups that were made for its [`BackupRecipient`], as `age` writes it: `AGE-SECRET-KEY-1…`.
#[derive(Clone, Debug)]
pub struct BackupKey(Secret);

impl BackupKey {
    /// The key that belongs to a recovery phrase.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self(root.derive("homing vault backup"))
    }

    /// Reads the text of a secret key of `age`.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_text(text: &str) -> Result<Self, NotABackupKey> {
        bytes(text, IDENTITY).map(|bytes| Self(Secret::new(*bytes)))
    }

    /// The text for tools of `age`.
    ///
    /// # Panics
    ///
    /// Never: 32 bytes have a text.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let text = bech32::encode_upper::<Bech32>(IDENTITY, self.0.expose());
        Zeroizing::new(text.expect("32 bytes are few enough for a checksum"))
    }

    /// Whom backups are for that this key opens.
    #[must_use]
    pub fn recipient(&self) -> BackupRecipient {
        BackupRecipient(MontgomeryPoint::mul_base_clamped(*self.0.expose()).0)
    }

    pub(super) fn unwrap(&self, stanza: &Stanza) -> Option<Zeroizing<FileKey>> {
        let [kind, share] = stanza.arguments.as_slice() else { return None };
        if kind != X25519 {
            return None;
        }
        let share: [u8; 32] = base64(share).ok()?.try_into().ok()?;
        let key = wrapping(&self.0, &BackupRecipient(share), &share, &self.recipient())?;
        unwrap(&key, &stanza.body)
    }
}

/// The key that wraps a file's key, from what a secret and a point have in common.
fn wrapping(
    secret: &Secret,
    point: &BackupRecipient,
    share: &[u8; 32],
    to: &BackupRecipient,
) -> Option<Secret> {
    let common = Zeroizing::new(MontgomeryPoint(point.0).mul_clamped(*secret.expose()).0);
    let known_to_all: bool = common.ct_eq(&[0; 32]).into();
    (!known_to_all).then(|| expand(&*common, &[&share[..], &to.0].concat(), X25519_LABEL))
}

pub(super) fn wrap_scrypt(
    passphrase: &Passphrase,
    work: Work,
    file_key: &FileKey,
) -> Result<Stanza, AgeError> {
    let salt = draw_secret()?;
    let (salt, _) = salt.expose().split_first_chunk::<16>().expect("16 of 32 bytes");
    let key = scrypt_key(passphrase, work, salt)?;
    let arguments = vec![SCRYPT.to_owned(), BASE64_NOPAD.encode(salt), work.0.to_string()];
    Ok(Stanza { arguments, body: wrap(&key, file_key) })
}

pub(super) fn unwrap_scrypt(
    passphrase: &Passphrase,
    stanza: &Stanza,
) -> Result<Option<Zeroizing<FileKey>>, AgeError> {
    let [kind, salt, work] = stanza.arguments.as_slice() else { return Ok(None) };
    if kind != SCRYPT {
        return Ok(None);
    }
    let salt: [u8; 16] = base64(salt)?.try_into().map_err(|_| super::NotAnAgeFile)?;
    if work.starts_with(['0', '+']) {
        return Err(super::NotAnAgeFile.into());
    }
    let work = Work(work.parse().map_err(|_| super::NotAnAgeFile)?);
    Ok(unwrap(&scrypt_key(passphrase, work, &salt)?, &stanza.body))
}

fn scrypt_key(passphrase: &Passphrase, work: Work, salt: &[u8; 16]) -> Result<Secret, AgeError> {
    if work.0 > Work::MOST.0 {
        return Err(AgeError::TooMuchWork);
    }
    let params = scrypt::Params::new(work.0, 8, 1).map_err(|_| AgeError::TooMuchWork)?;
    let salt = [SCRYPT_LABEL, salt].concat();
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.bytes(), &salt, &params, &mut *key).map_err(|_| VaultError::Cost)?;
    Ok(Secret::new(*key))
}

/// A file's key under another that is used once, so that the nonce may be constant.
fn wrap(key: &Secret, file_key: &FileKey) -> Vec<u8> {
    let mut body = file_key.to_vec();
    let tag = ChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&Nonce::from([0; 12]), &[], body.as_mut_slice().into())
        .expect("16 bytes are few");
    body.extend_from_slice(&tag);
    body
}

fn unwrap(key: &Secret, body: &[u8]) -> Option<Zeroizing<FileKey>> {
    let (body, tag) = body.split_last_chunk::<16>()?;
    let mut file_key = Zeroizing::new(<FileKey>::try_from(body).ok()?);
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&Nonce::from([0; 12]), &[], file_key.as_mut_slice().into(), &Tag::from(*tag))
        .ok()?;
    Some(file_key)
}

fn bytes(text: &str, prefix: Hrp) -> Result<Zeroizing<[u8; 32]>, NotABackupKey> {
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| NotABackupKey)?;
    if checked.hrp() != prefix {
        return Err(NotABackupKey);
    }
    let bytes = Zeroizing::new(checked.byte_iter().collect::<Vec<u8>>());
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| NotABackupKey)?))
}
