//! The contents of an `age` file: chunks that cannot be swapped, left out, or cut off at the end.

use std::fmt;
use std::io::{self, Read, Write};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use chart::Secret;
use zeroize::Zeroizing;

const CHUNK_LEN: usize = 64 * 1024;
const TAG_LEN: usize = 16;

/// Which chunk, and whether it is the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Last,
}

/// Numbers chunks.
struct Counter {
    cipher: ChaCha20Poly1305,
    number: u64,
}

impl Counter {
    fn new(key: &Secret) -> Self {
        Self { cipher: ChaCha20Poly1305::new(key.expose().into()), number: 0 }
    }

    /// `11 bytes of a number, highest first | 1 in the last chunk`
    fn nonce(&self, turn: Turn) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(turn == Turn::Last);
        Nonce::from(nonce)
    }

    fn seal(&mut self, chunk: &mut Vec<u8>, turn: Turn) {
        let tag = self.cipher.encrypt_inout_detached(&self.nonce(turn), &[], chunk.as_mut_slice().into());
        chunk.extend_from_slice(&tag.expect("a chunk is short"));
        self.number += 1;
    }

    fn open(&mut self, chunk: &mut Vec<u8>, turn: Turn) -> io::Result<()> {
        let (_, tag) = chunk.split_last_chunk::<TAG_LEN>().ok_or_else(torn)?;
        let tag = Tag::from(*tag);
        chunk.truncate(chunk.len() - TAG_LEN);
        let opened =
            self.cipher.decrypt_inout_detached(&self.nonce(turn), &[], chunk.as_mut_slice().into(), &tag);
        self.number += 1;
        opened.map_err(|_| torn())
    }
}

fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is torn or was changed")
}

/// Takes the contents of a file. What was written is whole only after [`ChunkWriter::finish`].
pub struct ChunkWriter<W> {
    out: W,
    counter: Counter,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> ChunkWriter<W> {
    pub(super) fn new(out: W, key: &Secret) -> Self {
        Self {
            out,
            counter: Counter::new(key),
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK_LEN + TAG_LEN)),
        }
    }

    /// Takes more.
    ///
    /// # Errors
    ///
    /// As the writer does.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A chunk is closed only once something follows it: the last one may be full too.
            if self.chunk.len() == CHUNK_LEN {
                self.put(Turn::More)?;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(CHUNK_LEN - self.chunk.len()));
            self.chunk.extend_from_slice(taken);
            bytes = rest;
        }
        Ok(())
    }

    /// Ends the file, and gives the writer back.
    ///
    /// # Errors
    ///
    /// As the writer does.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(Turn::Last)?;
        Ok(self.out)
    }

    fn put(&mut self, turn: Turn) -> io::Result<()> {
        self.counter.seal(&mut self.chunk, turn);
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W> fmt::Debug for ChunkWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkWriter").field("chunks", &self.counter.number).finish_non_exhaustive()
    }
}

/// Gives the contents of a file, each chunk after it was found to be whole and in its place.
pub struct ChunkReader<R> {
    from: R,
    counter: Counter,
    chunk: Zeroizing<Vec<u8>>,
    /// Bytes of the chunk that were given.
    given: usize,
    /// The first byte of the chunk that follows.
    ahead: Option<u8>,
    ended: bool,
}

impl<R: Read> ChunkReader<R> {
    pub(super) fn new(from: R, key: &Secret) -> Self {
        let counter = Counter::new(key);
        Self { from, counter, chunk: Zeroizing::new(Vec::new()), given: 0, ahead: None, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.chunk.clear();
        self.given = 0;
        self.chunk.extend(self.ahead.take());
        let rest = (CHUNK_LEN + TAG_LEN + 1 - self.chunk.len()) as u64;
        (&mut self.from).take(rest).read_to_end(&mut self.chunk)?;
        let turn = if self.chunk.len() > CHUNK_LEN + TAG_LEN {
            self.ahead = self.chunk.pop();
            Turn::More
        } else {
            self.ended = true;
            Turn::Last
        };
        let is_first = self.counter.number == 0;
        self.counter.open(&mut self.chunk, turn)?;
        // Only a file without contents ends with an empty chunk.
        if self.chunk.is_empty() && !is_first { Err(torn()) } else { Ok(()) }
    }
}

impl<R: Read> Read for ChunkReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            if self.ended || out.is_empty() {
                return Ok(0);
            }
            self.refill()?;
        }
        let taken = out.len().min(self.chunk.len() - self.given);
        out[..taken].copy_from_slice(&self.chunk[self.given..self.given + taken]);
        self.given += taken;
        Ok(taken)
    }
}

impl<R> fmt::Debug for ChunkReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader").field("chunks", &self.counter.number).finish_non_exhaustive()
    }
}
