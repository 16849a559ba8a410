//! What holds for every decoder on any bytes. The fuzz targets include this file.

use vault::{AgeHeader, BackupItem, BackupKey, KeyFile, Opening, open_from};

/// Panics where a decoder breaks a promise on these bytes.
pub(crate) type Check = fn(&[u8]);

/// Every decoder by name with its check.
pub(crate) const DECODERS: &[(&str, Check)] =
    &[("vault_age_file", age_file), ("vault_backup_item", backup_item), ("vault_key_file", key_file)];

/// The key that the inputs were made for.
const KEY: &str = include_str!("../golden/key-1.txt");

fn age_file(bytes: &[u8]) {
    let is_header = AgeHeader::decode(bytes).is_ok();
    let key = BackupKey::from_text(KEY.trim()).expect("the text of a key");
    let mut contents = Vec::new();
    if let Ok(mut reader) = open_from(&Opening::With(key), bytes) {
        assert!(!is_header, "a header alone has no contents");
        if std::io::Read::read_to_end(&mut reader, &mut contents).is_ok() {
            assert!(contents.len() < bytes.len());
        }
    }
}

fn backup_item(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(item) = BackupItem::read(&mut rest) {
        let read = bytes.len() - rest.len();
        let mut written = Vec::new();
        item.encode(&mut written);
        assert!(bytes[..read].ends_with(&written), "{item:?}");
    }
}

fn key_file(bytes: &[u8]) {
    if let Ok(file) = KeyFile::decode(bytes) {
        assert_eq!(file.encode(), bytes, "{file:?}");
    }
}
