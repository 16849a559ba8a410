//! Reads the records of a JavaScript server's LevelDB directory, and changes nothing there.
//!
//! Every table and log of the directory is read, obsolete ones too: records are signed and ordered by
//! themselves, so it does not matter which version comes first, nor whether a damaged file lost some. For the
//! same reason checksums are left alone: a damaged record has no valid signature.
//!
//! ```text
//! table: data blocks … index block | metaindex handle, index handle, padding, magic (48 bytes)
//! block: (shared, unshared, length of value as varints | rest of key | value)* | restarts u32le* | count u32le
//!        | compression u8: 0 none, 1 Snappy | crc u32le
//! log:   blocks of 32 KiB: (crc u32le | length u16le | 1 whole, 2 first, 3 middle, 4 last | bytes)*
//! batch: sequence u64le | count u32le | (1 | key | value, or 0 | key, each after its length as a varint)*
//! ```
//!
//! (The `doc` directory of LevelDB: `table_format.md`, `log_format.md`; `write_batch.cc`.)

use std::fs;
use std::io;
use std::path::Path;

/// Bytes of one file; LevelDB itself begins a new one after some megabytes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one block when it is unpacked: the largest value that the library stores, and some to spare.
const BLOCK_BYTES_MAX: usize = 128 << 20;

const LOG_BLOCK: usize = 32 * 1024;
const LOG_HEAD: usize = 7;
const FOOTER: usize = 48;
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
/// Bytes after a key of a table: its sequence number and whether it was deleted.
const KEY_TAIL: usize = 8;

/// What a directory held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Files that were read.
    pub files: usize,
    /// Values that were found, old versions included.
    pub values: usize,
    /// Files that are damaged, of which only a part was read.
    pub damaged: usize,
}

/// Gives every value of a directory to `take`, in no particular order.
///
/// # Errors
///
/// If the directory or a file cannot be read, or there is no LevelDB.
pub(crate) fn read(directory: &Path, mut take: impl FnMut(&[u8])) -> io::Result<Read> {
    if !directory.join("CURRENT").try_exists()? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no LevelDB in this directory"));
    }
    let mut read = Read::default();
    for file in fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name();
        let Some((_, kind)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        if !matches!(kind, "ldb" | "sst" | "log") || file.metadata()?.len() > FILE_BYTES_MAX {
            continue;
        }
        let bytes = fs::read(file.path())?;
        let mut take = |value: &[u8]| {
            read.values += 1;
            take(value);
        };
        let whole = if kind == "log" { log(&bytes, &mut take) } else { table(&bytes, &mut take) };
        read.files += 1;
        read.damaged += usize::from(whole.is_none());
    }
    Ok(read)
}

fn table(bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Option<()> {
    let footer = bytes.len().checked_sub(FOOTER).and_then(|at| bytes.get(at..))?;
    let footer = footer.strip_suffix(&MAGIC)?;
    let (_, rest) = handle(footer)?;
    let (index, _) = handle(rest)?;
    let index = block(bytes, index)?;
    let mut whole = Some(());
    entries(&index, |_, value| {
        let data = handle(value).and_then(|(data, _)| block(bytes, data));
        let read = data.and_then(|data| {
            entries(&data, |key, value| {
                let kind = key.len().checked_sub(KEY_TAIL).and_then(|at| key.get(at));
                if kind == Some(&1) {
                    take(value);
                }
            })
        });
        whole = whole.and(read);
    })?;
    whole
}

#[derive(Clone, Copy)]
struct Handle {
    offset: usize,
    length: usize,
}

fn handle(bytes: &[u8]) -> Option<(Handle, &[u8])> {
    let (offset, rest) = varint(bytes)?;
    let (length, rest) = varint(rest)?;
    Some((Handle { offset, length }, rest))
}

fn block(bytes: &[u8], Handle { offset, length }: Handle) -> Option<Vec<u8>> {
    let end = offset.checked_add(length)?;
    let packed = bytes.get(offset..end)?;
    match bytes.get(end)? {
        0 => Some(packed.to_vec()),
        1 if snap::raw::decompress_len(packed).ok()? <= BLOCK_BYTES_MAX => {
            snap::raw::Decoder::new().decompress_vec(packed).ok()
        }
        _ => None,
    }
}

/// Gives the entries of a block; `None` if it ends early.
fn entries(block: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Option<()> {
    let (rest, count) = block.split_last_chunk::<4>()?;
    let restarts = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
    let mut rest = rest.get(..rest.len().checked_sub(restarts)?)?;
    let mut key = Vec::new();
    while !rest.is_empty() {
        let (shared, after) = varint(rest)?;
        let (unshared, after) = varint(after)?;
        let (length, after) = varint(after)?;
        let (key_rest, after) = after.split_at_checked(unshared)?;
        let (value, after) = after.split_at_checked(length)?;
        if shared > key.len() {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(key_rest);
        take(&key, value);
        rest = after;
    }
    Some(())
}

fn log(bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Option<()> {
    let mut batch_bytes = Vec::new();
    for block in bytes.chunks(LOG_BLOCK) {
        let mut rest = block;
        while let Some((head, after)) = rest.split_first_chunk::<LOG_HEAD>() {
            let [_, _, _, _, low, high, kind] = *head;
            let length = usize::from(u16::from_le_bytes([low, high]));
            // A file's end may have been reserved and not yet written.
            if kind == 0 && length == 0 {
                break;
            }
            let (part, after) = after.split_at_checked(length)?;
            if matches!(kind, 1 | 2) {
                batch_bytes.clear();
            }
            batch_bytes.extend_from_slice(part);
            if matches!(kind, 1 | 4) {
                batch(&batch_bytes, take)?;
            }
            rest = after;
        }
    }
    Some(())
}

fn batch(bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Option<()> {
    let (_, mut rest) = bytes.split_at_checked(12)?;
    while let Some((kind, after)) = rest.split_first() {
        let (_, after) = slice(after)?;
        rest = after;
        if *kind == 1 {
            let (value, after) = slice(rest)?;
            take(value);
            rest = after;
        }
    }
    Some(())
}

fn slice(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(length)
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(place + 1..)?));
        }
    }
    None
}
