//! A store in memory that loses what was not synced, as a disk does when the power goes.

use std::collections::{BTreeMap, BTreeSet};

use chart::{Archive, AuthorKey, Slot, StoreError, Write};

/// The twin of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    safe: BTreeMap<Slot, Vec<u8>>,
    /// Changes since the last sync, in their order.
    pending: Vec<Write>,
    current: BTreeMap<Slot, Vec<u8>>,
    pub(crate) syncs: u64,
}

impl Disk {
    /// Stops in the middle: of each change that was not synced, all, nothing, or a torn part survives, in no order.
    pub(crate) fn crash(mut self, mut chance: impl FnMut(u64) -> u64) -> Self {
        let mut survived = self.safe.clone();
        for Write { slot, value } in std::mem::take(&mut self.pending) {
            match (chance(4), value) {
                (0, _) => {}
                (1, Some(value)) if !value.is_empty() => {
                    let len = usize::try_from(chance(value.len() as u64)).unwrap();
                    survived.insert(slot, value[..len].to_vec());
                }
                (_, Some(value)) => drop(survived.insert(slot, value)),
                (_, None) => drop(survived.remove(&slot)),
            }
        }
        Self { safe: survived.clone(), pending: Vec::new(), current: survived, syncs: self.syncs }
    }

    /// Every value, as somebody sees it who has the whole disk.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&Slot, &Vec<u8>)> {
        self.current.iter()
    }

    /// Changes a value behind the machine's back.
    pub(crate) fn tamper(&mut self, slot: Slot, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.current.get_mut(&slot).expect("a value to tamper with"));
        self.safe.clone_from(&self.current);
    }

    /// Removes values behind the machine's back.
    pub(crate) fn lose(&mut self, gone: impl Fn(&Slot) -> bool) {
        self.current.retain(|slot, _| !gone(slot));
        self.safe.clone_from(&self.current);
    }

    fn apply(map: &mut BTreeMap<Slot, Vec<u8>>, Write { slot, value }: Write) {
        match value {
            Some(value) => drop(map.insert(slot, value)),
            None => drop(map.remove(&slot)),
        }
    }
}

impl Archive for Disk {
    fn get(&self, slot: &Slot) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.current.get(slot).cloned())
    }

    fn has(&self, slot: &Slot) -> Result<bool, StoreError> {
        Ok(self.current.contains_key(slot))
    }

    fn authors(&self) -> Result<Vec<AuthorKey>, StoreError> {
        let authors = self.current.keys().filter_map(|slot| match slot {
            Slot::Header(author, _) | Slot::Head(author) | Slot::Fork(author) => Some(*author),
            _ => None,
        });
        Ok(authors.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        for write in writes {
            Self::apply(&mut self.current, write.clone());
            self.pending.push(write);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.syncs += 1;
        for write in std::mem::take(&mut self.pending) {
            Self::apply(&mut self.safe, write);
        }
        Ok(())
    }
}
