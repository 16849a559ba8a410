//! The primitives that `snow` asks for by their names.

use blake2::{Blake2b512, Digest};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroize;

use crate::key::{self, Secret};

const TAG_LEN: usize = 16;

/// Gives `snow` an Edwards curve for Diffie-Hellman, and chance for one ephemeral key.
pub(super) struct Primitives {
    ephemeral: Secret,
}

impl Primitives {
    pub(super) const fn new(ephemeral: Secret) -> Self {
        Self { ephemeral }
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(EphemeralSeed(Secret::new(*self.ephemeral.expose()))))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(EdwardsDh { scalar: Secret::new([0; 32]), public: [0; 32] }))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Blake2bHash(Blake2b512::new())))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly(ChaCha20Poly1305::new(&Key::default()))))
    }
}

/// Yields one seed: a side of either pattern makes one ephemeral key.
struct EphemeralSeed(Secret);

impl Random for EphemeralSeed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        if dest.len() != 32 {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(self.0.expose());
        Ok(())
    }
}

struct EdwardsDh {
    scalar: Secret,
    public: [u8; 32],
}

impl Dh for EdwardsDh {
    fn name(&self) -> &'static str {
        "Ed25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, scalar: &[u8]) {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(scalar);
        self.scalar = Secret::new(bytes);
        self.public = key::public(self.scalar.expose());
        bytes.zeroize();
    }

    fn generate(&mut self, chance: &mut dyn Random) -> Result<(), Error> {
        let mut seed = [0; 32];
        chance.try_fill_bytes(&mut seed)?;
        self.scalar = key::expand(&seed);
        self.public = key::public(self.scalar.expose());
        seed.zeroize();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.scalar.expose()
    }

    fn dh(&self, point: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // `snow` lends the key in a buffer that would hold that of a longer curve.
        let point = point.first_chunk().ok_or(Error::Dh)?;
        let shared = key::shared(self.scalar.expose(), point).map_err(|_| Error::Dh)?;
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(&shared);
        Ok(())
    }
}

struct Blake2bHash(Blake2b512);

impl Hash for Blake2bHash {
    fn name(&self) -> &'static str {
        "BLAKE2b"
    }

    fn block_len(&self) -> usize {
        128
    }

    fn hash_len(&self) -> usize {
        64
    }

    fn reset(&mut self) {
        Digest::reset(&mut self.0);
    }

    fn input(&mut self, bytes: &[u8]) {
        Digest::update(&mut self.0, bytes);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..64].copy_from_slice(&self.0.finalize_reset());
    }
}

struct ChaChaPoly(ChaCha20Poly1305);

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = ChaCha20Poly1305::new(&Key::from(*key));
    }

    fn encrypt(&self, counter: u64, covered: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (body, tail) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let tag = self.0.encrypt_inout_detached(&nonce(counter), covered, body.into());
        tail[..TAG_LEN]
            .copy_from_slice(&tag.expect("a message of 65,535 bytes is within the cipher's limit"));
        plain.len() + TAG_LEN
    }

    fn decrypt(&self, counter: u64, covered: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(body);
        self.0
            .decrypt_inout_detached(&nonce(counter), covered, out.into(), &Tag::from(*tag))
            .map_err(|_| Error::Decrypt)?;
        Ok(body.len())
    }
}
