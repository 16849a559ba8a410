//! Attachments: encrypted chunks named by their hashes, and two levels of pages that name them.
//!
//! ```text
//! chunk: ciphertext of 65,536 bytes or fewer | tag 16       nonce: chunk number u64le, then zeros
//! page:  hashes of up to 1,024 chunks       first page: hashes of up to 1,024 pages
//! ```

use std::collections::{BTreeSet, VecDeque};

use crate::journal::Journal;
use crate::key::{Digest, Domain, Secret, hash};
use crate::message::BLOB_MAX;
use crate::seal::{TAG_LEN, decrypt, encrypt};
use crate::statement::Attachment;
use crate::store::{Archive, Slot, StoreError, Write};

/// Bytes of a chunk before encryption.
pub const CHUNK_LEN: usize = 64 * 1024;

const FANOUT: usize = 1_024;

/// Bytes of an attachment: what two levels of pages name.
pub const ATTACHMENT_MAX: u64 = (FANOUT * FANOUT * CHUNK_LEN) as u64;

/// Parts asked for and not yet here, of one attachment.
const OUTSTANDING_MAX: usize = 16;

const CHUNK: Domain = Domain("homing chart chunk");
const PAGE: Domain = Domain("homing chart page");

fn chunk_id(bytes: &[u8]) -> Digest {
    Digest(hash(&CHUNK, &[bytes]))
}

fn page_id(bytes: &[u8]) -> Digest {
    Digest(hash(&PAGE, &[bytes]))
}

fn nonce(number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// Something is too large to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attachment of that size has no place")]
pub struct TooLarge;

/// Makes an attachment of bytes in any pieces; memory holds one chunk and the hashes.
#[derive(Debug)]
pub struct Sealer {
    key: Secret,
    open: Vec<u8>,
    len: u64,
    count: u64,
    page: Vec<u8>,
    pages: Vec<u8>,
}

impl Sealer {
    pub(crate) const fn new(key: Secret) -> Self {
        Self { key, open: Vec::new(), len: 0, count: 0, page: Vec::new(), pages: Vec::new() }
    }

    /// Takes bytes, and returns what is to be stored with [`Chart::store_parts`](crate::Chart::store_parts).
    ///
    /// # Errors
    ///
    /// Beyond [`ATTACHMENT_MAX`] bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Parts, TooLarge> {
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).map_err(|_| TooLarge)?);
        if self.len > ATTACHMENT_MAX {
            return Err(TooLarge);
        }
        let mut parts = Parts::default();
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(CHUNK_LEN - self.open.len()));
            self.open.extend_from_slice(taken);
            bytes = rest;
            if self.open.len() == CHUNK_LEN {
                self.close_chunk(&mut parts);
            }
        }
        Ok(parts)
    }

    /// Ends the attachment.
    pub fn finish(mut self, name: String, media_type: String) -> (Attachment, Parts) {
        let mut parts = Parts::default();
        if !self.open.is_empty() || self.count == 0 {
            self.close_chunk(&mut parts);
        }
        if !self.page.is_empty() {
            self.close_page(&mut parts);
        }
        let root = page_id(&self.pages);
        parts.0.push((root, self.pages));
        let name = crate::statement::Private(name);
        (Attachment { root, key: self.key, len: self.len, name, media_type }, parts)
    }

    fn close_chunk(&mut self, parts: &mut Parts) {
        let sealed = encrypt(&self.key, nonce(self.count), &[], &std::mem::take(&mut self.open));
        let id = chunk_id(&sealed);
        parts.0.push((id, sealed));
        self.count += 1;
        self.page.extend_from_slice(&id.0);
        if self.page.len() == FANOUT * 32 {
            self.close_page(parts);
        }
    }

    fn close_page(&mut self, parts: &mut Parts) {
        let page = std::mem::take(&mut self.page);
        let id = page_id(&page);
        self.pages.extend_from_slice(&id.0);
        parts.0.push((id, page));
    }
}

/// Chunks and pages under their names.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Parts(Vec<(Digest, Vec<u8>)>);

impl Parts {
    pub(crate) fn into_writes(self) -> Vec<Write> {
        self.0.into_iter().map(|(id, bytes)| Write { slot: Slot::Blob(id), value: Some(bytes) }).collect()
    }
}

/// What a hash names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    First,
    Page,
    Chunk,
}

impl Kind {
    /// Whether bytes are what a hash names, and could be of this kind.
    fn fits(self, id: &Digest, bytes: &[u8]) -> bool {
        match self {
            Self::Chunk => bytes.len() > TAG_LEN - 1 && bytes.len() <= BLOB_MAX && chunk_id(bytes) == *id,
            Self::First | Self::Page => {
                bytes.len() <= FANOUT * 32 && bytes.len().is_multiple_of(32) && page_id(bytes) == *id
            }
        }
    }
}

/// An attachment on its way: page after page, so that memory holds the hashes of one page and no contents.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// What to ask for next, in order.
    wanted: VecDeque<(Kind, Digest)>,
    outstanding: BTreeSet<(Kind, Digest)>,
    /// Pages not looked into yet.
    pages: VecDeque<Digest>,
}

impl Fetch {
    pub(crate) fn new(root: Digest) -> Self {
        Self {
            wanted: VecDeque::from([(Kind::First, root)]),
            outstanding: BTreeSet::new(),
            pages: VecDeque::new(),
        }
    }

    /// The next part to ask for; parts that are in the store already are looked into instead.
    pub(crate) fn next<S: Archive>(&mut self, store: &S) -> Result<Option<Digest>, StoreError> {
        while self.outstanding.len() < OUTSTANDING_MAX {
            let Some((kind, id)) = self.wanted.pop_front() else {
                if !self.outstanding.is_empty() {
                    return Ok(None);
                }
                let Some(page) = self.pages.pop_front() else { return Ok(None) };
                self.wanted.push_back((Kind::Page, page));
                continue;
            };
            match (kind, store.has(&Slot::Blob(id))?) {
                (_, false) => {
                    self.outstanding.insert((kind, id));
                    return Ok(Some(id));
                }
                (Kind::Chunk, true) => {}
                (Kind::First | Kind::Page, true) => {
                    let bytes = store.get(&Slot::Blob(id))?.unwrap_or_default();
                    self.look_into(kind, &bytes);
                }
            }
        }
        Ok(None)
    }

    /// Takes a part; `None` if it was not asked for or is not what its name says.
    pub(crate) fn take(&mut self, id: Digest, bytes: &[u8]) -> Option<Write> {
        let kind = [Kind::First, Kind::Page, Kind::Chunk]
            .into_iter()
            .find(|kind| self.outstanding.contains(&(*kind, id)))?;
        if !kind.fits(&id, bytes) {
            return None;
        }
        self.outstanding.remove(&(kind, id));
        self.look_into(kind, bytes);
        Some(Write { slot: Slot::Blob(id), value: Some(bytes.to_vec()) })
    }

    /// A part that was asked for does not come.
    pub(crate) fn give_up(&mut self, id: &Digest) {
        for kind in [Kind::First, Kind::Page, Kind::Chunk] {
            if self.outstanding.remove(&(kind, *id)) {
                self.wanted.push_back((kind, *id));
            }
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.wanted.is_empty() && self.outstanding.is_empty() && self.pages.is_empty()
    }

    fn look_into(&mut self, kind: Kind, bytes: &[u8]) {
        let ids = hashes(bytes);
        match kind {
            Kind::First => self.pages.extend(ids),
            Kind::Page => self.wanted.extend(ids.map(|id| (Kind::Chunk, id))),
            Kind::Chunk => {}
        }
    }
}

fn hashes(page: &[u8]) -> impl Iterator<Item = Digest> + '_ {
    page.as_chunks::<32>().0.iter().map(|id| Digest(*id))
}

/// Removes an attachment from the store.
pub(crate) fn destroy<S: Archive>(journal: &mut Journal<S>, root: &Digest) -> Result<(), StoreError> {
    let Some(first) = journal.store.get(&Slot::Blob(*root))? else { return Ok(()) };
    for page in hashes(&first) {
        let chunks = journal.store.get(&Slot::Blob(page))?.unwrap_or_default();
        let slots = hashes(&chunks).chain([page]).map(Slot::Blob);
        journal.write(slots.map(|slot| Write { slot, value: None }).collect())?;
    }
    journal.write(vec![Write { slot: Slot::Blob(*root), value: None }])
}

/// Why an attachment's bytes cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// A part is not here.
    #[error("a part of the attachment is missing")]
    Missing,
    /// A part is not what was attached.
    #[error("a part of the attachment is damaged")]
    Damaged,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads one chunk of an attachment; `None` beyond its end.
pub(crate) fn read_chunk<S: Archive>(
    store: &S,
    attachment: &Attachment,
    number: u64,
) -> Result<Option<Vec<u8>>, AttachmentError> {
    let chunk_len = u64::try_from(CHUNK_LEN).expect("64 KiB fit");
    let count = attachment.len.div_ceil(chunk_len).max(1);
    if number >= count {
        return Ok(None);
    }
    let at = usize::try_from(number).map_err(|_| AttachmentError::Missing)?;
    let get = |id: Digest, kind: Kind| -> Result<Vec<u8>, AttachmentError> {
        let bytes = store.get(&Slot::Blob(id))?.ok_or(AttachmentError::Missing)?;
        if kind.fits(&id, &bytes) { Ok(bytes) } else { Err(AttachmentError::Damaged) }
    };
    let first = get(attachment.root, Kind::First)?;
    let page = hashes(&first).nth(at / FANOUT).ok_or(AttachmentError::Damaged)?;
    let page = get(page, Kind::Page)?;
    let chunk = hashes(&page).nth(at % FANOUT).ok_or(AttachmentError::Damaged)?;
    let sealed = get(chunk, Kind::Chunk)?;
    let plain = decrypt(&attachment.key, nonce(number), &[], &sealed).ok_or(AttachmentError::Damaged)?;
    let expected = if number + 1 == count { attachment.len - number * chunk_len } else { chunk_len };
    if u64::try_from(plain.len()).is_ok_and(|len| len == expected) {
        Ok(Some(plain.to_vec()))
    } else {
        Err(AttachmentError::Damaged)
    }
}
