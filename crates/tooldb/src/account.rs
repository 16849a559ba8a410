//! Accounts: a key pair, encrypted under a password, in a record that anybody may fetch.
//!
//! Who wants none signs with a key pair that is stored nowhere: [`Identity::from_seed`] with fresh entropy.

use std::num::NonZeroU32;

use ring::pbkdf2;

use crate::digest::Digest;
use crate::encoding::{hex, hex_lax};
use crate::json::{Object, Text, Value};
use crate::key::Key;
use crate::keys::Identity;
use crate::record::{Draft, Record, UnixMillis};
use crate::seal::{Iv, Sealed, SealingKey};
use crate::verify::Verified;

/// The library's salt, the same for everybody.
const SALT: &str = "t6sa@8d7!2ñs?=adjq2ng";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// What an account's key pair is encrypted under.
///
/// Account records are public and their salt is constant, so a password is worth what it would cost to guess
/// it offline at some ten thousand tries a second and core.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// A user's password.
    pub fn of_user(password: &str) -> Self {
        Self(Digest::of(password).to_hex())
    }

    /// A text that is used as it is.
    pub fn verbatim(text: &str) -> Self {
        Self(text.into())
    }

    /// The constant under which nodes keep their own key pair: no protection, only a format.
    pub fn of_node() -> Self {
        Self::verbatim("%default-peer%")
    }

    fn key(&self) -> SealingKey {
        let mut key = [0; 16];
        let salt = SALT.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, self.0.as_bytes(), &mut key);
        SealingKey::aes_128(&key)
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why nobody was signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The password does not open this account.
    #[error("wrong password")]
    WrongPassword,
    /// The record is no account.
    #[error("not an account")]
    NotAnAccount,
    /// The account's key pair is not the one that signed its record: somebody copied a ciphertext.
    #[error("the account was signed by somebody else")]
    ForeignKeys,
}

/// An account as it is stored.
///
/// ```text
/// {"name":text,"keys":hex(AES-128-GCM({"pub":hex SPKI,"priv":hex PKCS#8})),"iv":base64}
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    name: Text,
    keys: Sealed,
}

impl Account {
    /// Encrypts a key pair. Takes some 25 ms, by intent.
    pub fn seal(name: &str, identity: &Identity, passphrase: &Passphrase, iv: Iv) -> Self {
        let public = Value::Text(hex(&identity.address().to_spki()).as_str().into());
        let private = Value::Text(hex(&identity.to_pkcs8()).as_str().into());
        let keys = Object::from_members([("pub".into(), public), ("priv".into(), private)]);
        let plain = Value::Object(keys).to_json();
        Self { name: name.into(), keys: passphrase.key().seal(plain.as_bytes(), iv) }
    }

    /// Reads an account from a record's value; `None` if it is something else.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        Some(Self {
            name: object.get("name")?.as_text()?.clone(),
            keys: Sealed::from_members(object, "keys")?,
        })
    }

    /// The value to store.
    pub fn to_value(&self) -> Value {
        let [iv, keys] = self.keys.members("keys");
        Value::Object(Object::from_members([("name".into(), Value::Text(self.name.clone())), keys, iv]))
    }

    /// The display name.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Decrypts the key pair. Takes some 25 ms, by intent.
    ///
    /// # Errors
    ///
    /// If the passphrase is wrong or what it opens is no key pair.
    pub fn open(&self, passphrase: &Passphrase) -> Result<Identity, SignInError> {
        let plain = passphrase.key().open(&self.keys).ok_or(SignInError::WrongPassword)?;
        private_key(&plain).ok_or(SignInError::NotAnAccount)
    }
}

fn private_key(plain: &[u8]) -> Option<Identity> {
    let keys = Value::parse(str::from_utf8(plain).ok()?).ok()?;
    let der = hex_lax(keys.as_object()?.get("priv")?.as_text()?.escaped());
    Identity::from_pkcs8(&der).ok()
}

/// Makes the record `==user` that creates an account, signed with the account's new key pair.
///
/// The library stores a random animal as the name; here it is the user's name, which is what the library's own
/// clients show after signing in. `None` if the name is too long for a key.
pub fn sign_up(user: &str, password: &str, new: &Identity, (iv, now): (Iv, UnixMillis)) -> Option<Record> {
    let account = Account::seal(user, new, &Passphrase::of_user(password), iv);
    Some(Draft::plain(Key::frozen(user)?, account.to_value()).sign(now, new))
}

/// Opens the account in a record `==user`. Only a verified record is read, so nobody can answer first with an
/// account of their own making.
///
/// # Errors
///
/// If the password is wrong, the record is no account, or somebody else signed it.
pub fn sign_in(record: &Verified<Record>, password: &str) -> Result<Identity, SignInError> {
    let value = Value::parse(record.value()).map_err(|_| SignInError::NotAnAccount)?;
    let account = Account::from_value(&value).ok_or(SignInError::NotAnAccount)?;
    let identity = account.open(&Passphrase::of_user(password))?;
    if identity.address() == record.author() { Ok(identity) } else { Err(SignInError::ForeignKeys) }
}
