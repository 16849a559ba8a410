use wire::Reader;

use super::{BATCH, CONTROL, MuxError};

/// One message of a frame: its channel, and its type with what follows.
pub(super) struct Item<'a> {
    pub(super) channel: u64,
    pub(super) bytes: &'a [u8],
}

/// A frame that is decoded step by step; an empty frame says nothing.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    frame: Vec<u8>,
    at: usize,
    /// The channel of the items that follow, inside a batch.
    batch: Option<u64>,
}

impl Cursor {
    pub(super) const fn new(frame: Vec<u8>) -> Self {
        Self { frame, at: 0, batch: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.frame.len()
    }

    /// Returns the next message.
    pub(super) fn next(&mut self) -> Result<Option<Item<'_>>, MuxError> {
        let mut rest = Reader::new(&self.frame[self.at..]);
        let mut batch = self.batch;
        let mut next = None;
        while next.is_none() && !rest.rest().is_empty() {
            if let Some(channel) = batch {
                let bytes = rest.bytes()?;
                if bytes.is_empty() {
                    batch = Some(rest.uint()?);
                } else {
                    next = Some(Item { channel, bytes });
                }
                continue;
            }
            let channel = rest.uint()?;
            let mut ahead = rest;
            if channel == CONTROL && ahead.uint()? == BATCH {
                batch = Some(ahead.uint()?);
                rest = ahead;
            } else {
                let bytes = rest.take(rest.rest().len())?;
                next = Some(Item { channel, bytes });
            }
        }
        self.batch = batch;
        self.at = self.frame.len() - rest.rest().len();
        Ok(next)
    }
}
