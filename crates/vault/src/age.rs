//! Files in the format of `age` (<https://age-encryption.org/v1>), which its own tools open and make.
//!
//! ```text
//! age-encryption.org/v1\n
//! -> X25519 SHARE\n WRAPPED FILE KEY\n           or: -> scrypt SALT LOG_N\n WRAPPED FILE KEY\n
//! --- MAC\n
//! | nonce 16 | chunks of 65,536 bytes and a tag of 16, the last one marked and perhaps shorter |
//! ```

mod header;
mod key;
mod stream;

use std::io::{self, BufRead, Write};

use chart::Secret;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::passphrase::Passphrase;
use crate::seal::draw;

pub use header::{AgeHeader, NotAnAgeFile};
pub use key::{BackupKey, BackupRecipient, NotABackupKey};
pub use stream::{ChunkReader, ChunkWriter};

/// Who can open a file.
#[derive(Clone, Debug)]
pub enum Sealing {
    /// Whoever has the key that belongs to this.
    To(BackupRecipient),
    /// Whoever knows the passphrase. Trying one takes `2^work` blocks of scrypt, each of a KiB.
    Under(Passphrase, Work),
}

/// What a guess of a file's passphrase costs: scrypt's logarithm of N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work(pub u8);

impl Work {
    /// 256 MiB and about a second, as `age` takes it.
    pub const STANDARD: Self = Self(18);

    /// What a file may ask for; more would be somebody's attempt to exhaust whoever opens it.
    const MOST: Self = Self(20);
}

/// What opens a file.
#[derive(Clone, Debug)]
pub enum Opening {
    /// The key that it was sealed to.
    With(BackupKey),
    /// The passphrase.
    Under(Passphrase),
}

/// Why a file of `age` does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// It is none, or damaged where it begins.
    #[error("it is no age file")]
    NotAge(#[from] NotAnAgeFile),
    /// It is not for this key, or under another passphrase.
    #[error("the key or the passphrase is another")]
    WrongKey,
    /// It asks for more work than is reasonable.
    #[error("it asks for too much work")]
    TooMuchWork,
    /// It cannot be read or written.
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    /// The system has no randomness.
    #[error(transparent)]
    Entropy(#[from] VaultError),
}

/// Begins a file: writes its header, and returns what takes its contents.
///
/// # Errors
///
/// As the writer does.
pub fn seal_to<W: Write>(sealing: &Sealing, mut out: W) -> Result<ChunkWriter<W>, AgeError> {
    let file_key = Zeroizing::new(draw::<16>()?);
    let stanza = match sealing {
        Sealing::To(recipient) => recipient.wrap(&file_key)?,
        Sealing::Under(passphrase, work) => key::wrap_scrypt(passphrase, *work, &file_key)?,
    };
    out.write_all(&AgeHeader::of(stanza).encode(&file_key))?;
    let nonce: [u8; 16] = draw()?;
    out.write_all(&nonce)?;
    Ok(ChunkWriter::new(out, &payload_key(&file_key, &nonce)))
}

/// Opens a file: reads its header, and returns what gives its contents.
///
/// # Errors
///
/// If it is no such file, not for this key, or as the reader does.
pub fn open_from<R: BufRead>(opening: &Opening, mut from: R) -> Result<ChunkReader<R>, AgeError> {
    let header = AgeHeader::read(&mut from)?;
    let file_key = match opening {
        Opening::With(key) => header.stanzas().iter().find_map(|stanza| key.unwrap(stanza)),
        Opening::Under(passphrase) => match header.stanzas() {
            // A passphrase stands alone, so that nobody else can have made the file.
            [stanza] => key::unwrap_scrypt(passphrase, stanza)?,
            _ => None,
        },
    };
    let file_key = file_key.ok_or(AgeError::WrongKey)?;
    if !header.is_of(&file_key) {
        return Err(AgeError::NotAge(NotAnAgeFile));
    }
    let mut nonce = [0; 16];
    from.read_exact(&mut nonce)?;
    Ok(ChunkReader::new(from, &payload_key(&file_key, &nonce)))
}

fn payload_key(file_key: &[u8; 16], nonce: &[u8; 16]) -> Secret {
    expand(file_key, nonce, b"payload")
}

/// HKDF with SHA-256.
fn expand(secret: &[u8], salt: &[u8], what_for: &[u8]) -> Secret {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret).expand(what_for, &mut *key).expect("32 bytes are few for HKDF");
    Secret::new(*key)
}
