//! Where a machine keeps what it believes.

use crate::key::{AuthorKey, Digest};

/// What goes wrong below a machine: a full disk, a broken file.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
// tidy-expect(string-error): hosts bring their own stores, and each store its own failures
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Names a value of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Slot {
    /// A signed header.
    Header(AuthorKey, u64),
    /// The boxed key of a header's contents, apart from them so that destroying it is a small write.
    Key(AuthorKey, u64),
    /// The contents of a header without their key.
    Content(AuthorKey, u64),
    /// A chunk or a page of an attachment.
    Blob(Digest),
    /// How far a log has come: what finds a log whose end was cut off.
    Head(AuthorKey),
    /// Two headers of one author at one height.
    Fork(AuthorKey),
    /// The invitations that this device has issued.
    Invitations,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub slot: Slot,
    /// What is there from then on; `None` leaves nothing.
    pub value: Option<Vec<u8>>,
}

/// A place for values. Reads see all writes before them.
///
/// After a crash everything before the last [`Archive::sync`] is there. Of what was written since, any part may be:
/// the machine tells nobody of it before, and checks what it finds.
pub trait Archive {
    /// The value of a slot.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn get(&self, slot: &Slot) -> Result<Option<Vec<u8>>, StoreError>;

    /// Whether a slot has a value.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn has(&self, slot: &Slot) -> Result<bool, StoreError> {
        self.get(slot).map(|value| value.is_some())
    }

    /// Every author with a [`Slot::Header`], [`Slot::Head`] or [`Slot::Fork`], each once, in ascending order.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn authors(&self) -> Result<Vec<AuthorKey>, StoreError>;

    /// Makes changes in their order.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError>;

    /// Returns once everything written so far will survive.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    fn sync(&mut self) -> Result<(), StoreError>;
}
