//! Reads a vault by nothing but what `docs/format/vault.md` says, and tries every byte of a file as the beginning of
//! something that a key opens.

use std::fs;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use blake2::Blake2bMac;
use blake2::digest::consts::{U16, U32};
use blake2::digest::{KeyInit, Mac};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use chart::AuthorKey;
use redb::{ReadableDatabase, ReadableTable};

pub(crate) type Key = [u8; 32];

/// Everything that opens something in a vault, from its passphrase.
pub(crate) struct Keys {
    pub(crate) store: Key,
    pub(crate) records: Vec<RecordKeys>,
}

/// What one file of a record's keys holds.
pub(crate) struct RecordKeys {
    pub(crate) path: PathBuf,
    pub(crate) generation: u32,
    pub(crate) record: Key,
    pub(crate) content: Key,
    pub(crate) erasure: Key,
    pub(crate) identity: Key,
    pub(crate) standing: u8,
}

impl RecordKeys {
    pub(crate) fn stem(&self) -> &str {
        self.path.file_stem().unwrap().to_str().unwrap()
    }

    pub(crate) fn values(&self) -> Key {
        derive(&self.content, "values")
    }

    /// Where a value of a log lies.
    pub(crate) fn place(&self, author: &AuthorKey, height: u64) -> [u8; 16] {
        let mut place = name(&derive(&self.content, "names"), &[b"author", &author.0]);
        place[8..].copy_from_slice(&height.to_be_bytes());
        place
    }
}

pub(crate) fn derive(key: &Key, purpose: &str) -> Key {
    let mac = <Blake2bMac<U32> as KeyInit>::new_from_slice(key).unwrap();
    mac.chain_update(purpose).finalize().into_bytes().into()
}

pub(crate) fn name(key: &Key, parts: &[&[u8]]) -> [u8; 16] {
    let mac = <Blake2bMac<U16> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().fold(mac, Mac::chain_update).finalize().into_bytes().into()
}

/// Opens `nonce 24 | ciphertext | tag 16`.
pub(crate) fn open(key: &Key, covered: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
    let (body, tag) = sealed.split_last_chunk::<16>()?;
    let mut out = body.to_vec();
    let cipher = <XChaCha20Poly1305 as KeyInit>::new(key.into());
    let opened = cipher.decrypt_inout_detached(
        &XNonce::from(*nonce),
        covered,
        out.as_mut_slice().into(),
        &Tag::from(*tag),
    );
    opened.ok().map(|()| out)
}

/// Takes the store's key out of a key file.
pub(crate) fn store_key(file: &[u8], passphrase: &[u8]) -> Option<Key> {
    assert_eq!((file.len(), &file[..16], file[16]), (133, &b"homing vault key"[..], 1));
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let params = Params::new(number(17), number(21), number(25), Some(32)).unwrap();
    let mut wrapping = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &file[29..45], &mut wrapping)
        .unwrap();
    open(&wrapping, &file[..45], &file[45..117])?.try_into().ok()
}

/// Every key of a directory.
pub(crate) fn keys(directory: &Path, passphrase: &[u8]) -> Keys {
    let store = store_key(&fs::read(directory.join("key")).unwrap(), passphrase).unwrap();
    let mut records = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "keys") {
            let file = fs::read(&path).unwrap();
            let slots = [0, 4_096].into_iter().filter_map(|at| slot(&store, &path, &file[at..at + 4_096]));
            records.extend(slots);
        }
    }
    Keys { store, records }
}

fn slot(store: &Key, path: &Path, slot: &[u8]) -> Option<RecordKeys> {
    if slot[0] == 0 {
        assert!(slot.iter().all(|byte| *byte == 0));
        return None;
    }
    let keys =
        open(&derive(store, "record keys"), &slot[..5], &slot[5..5 + 24 + 129 + 16]).expect("a whole slot");
    let key = |at: usize| keys[at..at + 32].try_into().unwrap();
    Some(RecordKeys {
        path: path.to_owned(),
        generation: u32::from_le_bytes(slot[1..5].try_into().unwrap()),
        record: key(0),
        content: key(32),
        erasure: key(64),
        identity: key(96),
        standing: keys[128],
    })
}

/// What a table of a record holds, sealed as it is.
pub(crate) fn table(directory: &Path, keys: &RecordKeys, number: u8) -> Vec<([u8; 16], Vec<u8>)> {
    let database = redb::Database::open(directory.join("store")).unwrap();
    let name = format!("{}.{number}", keys.stem());
    let definition = redb::TableDefinition::<[u8; 16], &[u8]>::new(&name);
    let table = database.begin_read().unwrap().open_table(definition).unwrap();
    let items = table.iter().unwrap().map(|item| {
        let (key, value) = item.unwrap();
        (key.value(), value.value().to_vec())
    });
    items.collect()
}

/// Everything of a length that a key opens, wherever in the bytes it begins.
pub(crate) fn scan(bytes: &[u8], (key, covered): (&Key, &[u8]), plain_len: usize) -> Vec<Vec<u8>> {
    let windows = bytes.windows(24 + plain_len + 16);
    // Empty pages are most of a small store.
    windows.filter(|window| window[..24] != [0; 24]).filter_map(|window| open(key, covered, window)).collect()
}
