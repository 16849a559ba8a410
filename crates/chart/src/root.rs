//! The owner's root: what it is made from, and the statements that only it can make.

use std::fmt;

use bip39::{Language, Mnemonic};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::bytes::{DecodeError, Reader, Writer, whole, written};
use crate::clock::UnixMillis;
use crate::key::{
    AuthorKey, Digest, Domain, RecordId, SealKey, SealSecret, Secret, Signature, derive, hash, sign,
};

/// The version of every format of this crate that stands alone.
pub const FORMAT_VERSION: u8 = 1;

const RECORD: Domain = Domain("homing chart record");
const CERTIFICATE: Domain = Domain("homing chart certificate");
const REMOVAL: Domain = Domain("homing chart removal");

/// A phrase that is not one: a word that is not in the list, a wrong number of words, or a wrong checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the words are not a recovery phrase")]
pub struct NotAPhrase;

/// The owner's root key, from the 24 words of the recovery phrase (BIP-39, English). Used rarely, kept by a person.
pub struct Root {
    entropy: Secret,
    sign: SigningKey,
    recovery: SealSecret,
}

impl Root {
    /// Makes a root from 32 bytes of entropy.
    #[must_use]
    pub fn from_bytes(entropy: Secret) -> Self {
        let sign = derive(&entropy, &Domain("homing chart root sign"), &[]);
        let recovery = derive(&entropy, &Domain("homing chart root recovery"), &[]);
        Self { sign: SigningKey::from_bytes(sign.expose()), recovery: SealSecret::new(recovery), entropy }
    }

    /// Reads a phrase; upper case and spare spaces do not matter.
    ///
    /// # Errors
    ///
    /// If the checksum does not fit, which finds 255 of 256 wrong words.
    pub fn from_phrase(phrase: &str) -> Result<Self, NotAPhrase> {
        let words = Zeroizing::new(phrase.to_lowercase());
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).map_err(|_| NotAPhrase)?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        let entropy = entropy.as_slice().try_into().map_err(|_| NotAPhrase)?;
        Ok(Self::from_bytes(Secret::new(entropy)))
    }

    /// The 24 words.
    ///
    /// # Panics
    ///
    /// Never: 32 bytes make 24 words.
    #[must_use]
    pub fn phrase(&self) -> Zeroizing<String> {
        // tidy-expect(impure): entropy in, words out; nothing is drawn
        let mnemonic = Mnemonic::from_entropy_in(Language::English, self.entropy.expose())
            .expect("32 bytes make 24 words");
        Zeroizing::new(mnemonic.to_string())
    }

    /// The public key that a record names as its root.
    #[must_use]
    pub fn public(&self) -> AuthorKey {
        AuthorKey(self.sign.verifying_key().to_bytes())
    }

    /// Founds a record. `salt` keeps two records of one root apart.
    #[must_use]
    pub fn found(&self, created: UnixMillis, salt: [u8; 16]) -> Genesis {
        Genesis { root: self.public(), recovery: self.recovery.public(), created, salt }
    }

    /// Makes a device one of the owner's.
    #[must_use]
    pub fn certify(&self, record: RecordId, device: AuthorKey, seal: SealKey) -> Certificate {
        let signature = sign(&self.sign, &CERTIFICATE, &[&record.0, &device.0, &seal.0]);
        Certificate { device, seal, signature }
    }

    /// Takes a device away again, from a height of its log on.
    #[must_use]
    pub fn remove(&self, record: RecordId, device: AuthorKey, cut: Cut) -> Removal {
        let signature = sign(&self.sign, &REMOVAL, &[&record.0, &device.0, &cut.encode()]);
        Removal { device, cut, signature }
    }

    /// A secret that whoever has the phrase can derive again, for one purpose of the host.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> Secret {
        derive(&self.entropy, &Domain(purpose), &[])
    }

    pub(crate) const fn recovery(&self) -> &SealSecret {
        &self.recovery
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.public()).finish()
    }
}

/// The beginning of a record.
///
/// ```text
/// | version 1 | root key 32 | recovery key 32 | created u64le | salt 16 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The only key that adds and removes owner devices.
    pub root: AuthorKey,
    /// The key of the recovery phrase, to which every epoch is sealed.
    pub recovery: SealKey,
    /// When, by the founder's clock.
    pub created: UnixMillis,
    /// Tells apart two records of one root.
    pub salt: [u8; 16],
}

impl Genesis {
    /// The record's name.
    #[must_use]
    pub fn record(&self) -> RecordId {
        RecordId(hash(&RECORD, &[&self.encode()]))
    }

    /// Writes the bytes whose hash is the record's name.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(|w| self.write(w))
    }

    /// Reads what [`Genesis::encode`] wrote.
    ///
    /// # Errors
    ///
    /// On any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::read)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        version(r)?;
        Ok(Self {
            root: AuthorKey::read(r)?,
            recovery: SealKey::read(r)?,
            created: UnixMillis::read(r)?,
            salt: r.array()?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.u8(FORMAT_VERSION).raw(&self.root.0).raw(&self.recovery.0);
        self.created.write(w);
        w.raw(&self.salt);
    }
}

/// Takes the version byte in front of a format.
pub(crate) fn version(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    match r.u8()? {
        FORMAT_VERSION => Ok(()),
        other => Err(DecodeError::UnknownVersion(other)),
    }
}

/// How much of a log counts: the headers below a height, on the branch whose last header is named.
///
/// Of two cuts of one log the higher counts, and of equal heights the larger hash: what an owner has seen of
/// somebody before the end stays, and every replica chooses the same.
///
/// ```text
/// | height uint | hash of the header below it 32, zeros where the height is 0 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The first height that does not count.
    pub height: u64,
    /// The last header that counts.
    pub head: Digest,
}

impl Cut {
    fn encode(&self) -> Vec<u8> {
        written(|w| self.write(w))
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cut = Self { height: r.uint()?, head: Digest::read(r)? };
        if cut.height == 0 && cut.head != Digest::ZERO { Err(DecodeError::NotCanonical) } else { Ok(cut) }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.uint(self.height).raw(&self.head.0);
    }
}

/// The root's word that a device is the owner's: `device 32 | seal key 32 | signature 64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The device's log.
    pub device: AuthorKey,
    /// What others seal to.
    pub seal: SealKey,
    /// By the root, over the record and both keys.
    pub signature: Signature,
}

impl Certificate {
    /// Checks the root's signature.
    pub(crate) fn verify(&self, genesis: &Genesis) -> Result<(), DecodeError> {
        let parts: [&[u8]; 3] = [&genesis.record().0, &self.device.0, &self.seal.0];
        genesis.root.verify(&CERTIFICATE, &parts, &self.signature)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { device: AuthorKey::read(r)?, seal: SealKey::read(r)?, signature: Signature::read(r)? })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.raw(&self.device.0).raw(&self.seal.0).raw(&self.signature.0);
    }
}

/// The root's word that a device is no longer the owner's: `device 32 | cut | signature 64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The device's log.
    pub device: AuthorKey,
    /// What of it still counts.
    pub cut: Cut,
    /// By the root, over the record, the device and the cut.
    pub signature: Signature,
}

impl Removal {
    /// Checks the root's signature.
    pub(crate) fn verify(&self, genesis: &Genesis) -> Result<(), DecodeError> {
        let parts: [&[u8]; 3] = [&genesis.record().0, &self.device.0, &self.cut.encode()];
        genesis.root.verify(&REMOVAL, &parts, &self.signature)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { device: AuthorKey::read(r)?, cut: Cut::read(r)?, signature: Signature::read(r)? })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.raw(&self.device.0);
        self.cut.write(w);
        w.raw(&self.signature.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the test vectors of BIP-39 (trezor/python-mnemonic, vectors.json, English, 32 bytes of 0x80).
    const PHRASE: &str = "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount \
                          doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless";

    #[test]
    fn the_phrase_is_that_of_bip_39() {
        let root = Root::from_bytes(Secret::new([0x80; 32]));
        assert_eq!(root.phrase().as_str(), PHRASE);
        assert_eq!(Root::from_phrase(&PHRASE.to_uppercase()).unwrap().public(), root.public());
    }

    #[test]
    fn a_wrong_word_is_found_by_the_checksum() {
        for wrong in [PHRASE.replace("bless", "avoid"), PHRASE.replace("bless", "blest"), "letter".into()] {
            assert_eq!(Root::from_phrase(&wrong).unwrap_err(), NotAPhrase);
        }
    }

    #[test]
    fn statements_of_another_root_do_not_verify() {
        let (root, other) = (Root::from_bytes(Secret::new([1; 32])), Root::from_bytes(Secret::new([2; 32])));
        let genesis = root.found(UnixMillis(1), [0; 16]);
        let (device, seal) = (AuthorKey([3; 32]), SealKey([4; 32]));
        assert_eq!(root.certify(genesis.record(), device, seal).verify(&genesis), Ok(()));
        let forged = other.certify(genesis.record(), device, seal);
        assert_eq!(forged.verify(&genesis), Err(DecodeError::Unsigned));
        let cut = Cut { height: 0, head: Digest::ZERO };
        assert_eq!(root.remove(genesis.record(), device, cut).verify(&genesis), Ok(()));
        assert_eq!(other.remove(genesis.record(), device, cut).verify(&genesis), Err(DecodeError::Unsigned));
    }
}
