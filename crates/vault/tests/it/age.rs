//! Files of age, made and opened by its author's package for JavaScript: `vectors/age/files.json`.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use vault::{AgeError, BackupKey, BackupRecipient, Opening, Passphrase, Sealing, Work, open_from, seal_to};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn vectors() -> Value {
    serde_json::from_slice(&fs::read(root().join("vectors/age/files.json")).unwrap()).unwrap()
}

fn file(vector: &Value) -> (Vec<u8>, usize) {
    let len = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
    (BASE64.decode(vector["file"].as_str().unwrap().as_bytes()).unwrap(), len)
}

fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn opened(file: &[u8], opening: &Opening) -> Result<Vec<u8>, AgeError> {
    let mut contents = Vec::new();
    open_from(opening, file)?.read_to_end(&mut contents)?;
    Ok(contents)
}

#[test]
fn files_of_the_reference_open() {
    let vectors = vectors();
    let key = BackupKey::from_text(vectors["identity"].as_str().unwrap()).unwrap();
    assert_eq!(key.recipient().to_string(), vectors["recipient"].as_str().unwrap());
    let files = vectors["files"].as_array().unwrap();
    assert_eq!(files.len(), 5);
    for vector in files.iter().chain([&vectors["two_recipients"]]) {
        let (file, len) = file(vector);
        assert_eq!(opened(&file, &Opening::With(key.clone())).unwrap(), contents(len), "{len}");
    }
    let (file, len) = file(&vectors["passphrase"]);
    let under = |text: &str| Opening::Under(Passphrase::new(text.into()));
    assert_eq!(opened(&file, &under("for the safe")).unwrap(), contents(len));
    assert!(matches!(opened(&file, &under("for the sage")), Err(AgeError::WrongKey)));
    assert!(matches!(opened(&file, &Opening::With(key)), Err(AgeError::WrongKey)));
}

#[test]
fn the_reference_opens_our_backups_to_what_we_open_them_to() {
    let golden = |name: &str| fs::read(root().join("crates/vault/tests/golden").join(name)).unwrap();
    let key = String::from_utf8(golden("key-1.txt")).unwrap();
    let openings = [
        ("backup-1.age", Opening::With(BackupKey::from_text(key.trim()).unwrap())),
        ("backup-passphrase-1.age", Opening::Under(Passphrase::new("for the safe".into()))),
    ];
    for (name, opening) in openings {
        let hash = HEXLOWER.encode(&Sha256::digest(opened(&golden(name), &opening).unwrap()));
        assert_eq!(hash, vectors()["opened"][name].as_str().unwrap(), "{name}");
    }
}

#[test]
fn a_file_of_any_length_opens_again_and_no_piece_of_it_can_be_missing_or_moved() {
    let key = BackupKey::from_text(vectors()["identity"].as_str().unwrap()).unwrap();
    let opening = Opening::With(key.clone());
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let mut writer = seal_to(&Sealing::To(key.recipient()), Vec::new()).unwrap();
        for piece in contents(len).chunks(30_011) {
            writer.push(piece).unwrap();
        }
        let file = writer.finish().unwrap();
        assert_eq!(opened(&file, &opening).unwrap(), contents(len), "{len}");
        let chunks = len.div_ceil(65_536).max(1);
        let header = file.len() - 16 - len - 16 * chunks;
        assert_eq!(file.len() - header, 16 + len + 16 * chunks);
        for at in (1..chunks).map(|chunk| header + 16 + chunk * 65_552) {
            assert!(opened(&file[..at], &opening).is_err(), "cut off after a chunk of {len}");
            let mut moved = file.clone();
            moved.drain(at - 65_552..at);
            assert!(opened(&moved, &opening).is_err(), "a chunk of {len} left out");
        }
    }
}

#[test]
fn work_beyond_bounds_and_keys_that_are_none_are_refused() {
    let under = Passphrase::new("x".into());
    let sealed = seal_to(&Sealing::Under(under.clone(), Work(21)), Vec::new());
    assert!(matches!(sealed, Err(AgeError::TooMuchWork)));
    let (file, _) = file(&vectors()["passphrase"]);
    let text = String::from_utf8_lossy(&file[..90]).replace(" 10\n", " 30\n");
    let greedy = [text.as_bytes(), &file[90..]].concat();
    assert!(matches!(opened(&greedy, &Opening::Under(under)), Err(AgeError::TooMuchWork)));

    let identity = vectors()["identity"].as_str().unwrap().to_owned();
    let recipient = vectors()["recipient"].as_str().unwrap().to_owned();
    assert_eq!(recipient.parse::<BackupRecipient>().unwrap().to_string(), recipient);
    assert_eq!(*BackupKey::from_text(&identity).unwrap().text(), identity);
    let mut shorter = identity.clone();
    shorter.pop();
    for wrong in ["", "age1", &recipient, &identity.replace('1', "2"), &shorter] {
        assert!(BackupKey::from_text(wrong).is_err(), "{wrong}");
    }
    assert!(identity.parse::<BackupRecipient>().is_err());
    // A point of small order has a secret in common with everybody.
    let nobody = BackupRecipient([0; 32]);
    assert!(matches!(seal_to(&Sealing::To(nobody), Vec::new()), Err(AgeError::WrongKey)));
}
