use std::net::SocketAddr;
use std::time::Duration;

use wire::Id;

use super::config::{Binding, Diversity};
use super::identity::is_secure;
use crate::block::Block;
use crate::table::{Entry, K, Place, Table};

/// Nodes of one network block in a row of the table.
const BLOCK_IN_ROW_MAX: usize = 2;
/// Nodes of one network block in the table.
const BLOCK_IN_TABLE_MAX: usize = 10;
/// Queries in a row without an answer after which a node leaves the table.
const FAILURES_MAX: u8 = 2;

/// A node that answered a query of ours.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub(super) id: Id<20>,
    pub(super) addr: SocketAddr,
    /// Seconds after the machine's birth.
    pub(super) heard: u32,
    pub(super) round_trip_ms: u16,
    pub(super) failures: u8,
    pub(super) secure: bool,
}

impl Entry<20> for Contact {
    fn id(&self) -> &Id<20> {
        &self.id
    }
}

/// The routing table, and who may enter it.
#[derive(Debug)]
pub(super) struct Contacts {
    table: Table<20, Contact>,
    diversity: Diversity,
    binding: Binding,
}

impl Contacts {
    pub(super) const fn new(id: Id<20>, diversity: Diversity, binding: Binding) -> Self {
        Self { table: Table::new(id), diversity, binding }
    }

    pub(super) const fn table(&self) -> &Table<20, Contact> {
        &self.table
    }

    /// Tells whether an id is as good as one can be at an address.
    pub(super) fn is_trusted(&self, id: &Id<20>, addr: &SocketAddr) -> bool {
        self.binding == Binding::Off || is_secure(id, addr.ip())
    }

    /// Tells whether a stranger would find a place, so that it is worth asking.
    pub(super) fn has_room(&self, id: &Id<20>, addr: &SocketAddr) -> bool {
        *id != self.table.id()
            && self.table.get(id).is_none()
            && (self.table.neighbours(id).len() < K || self.victim(id, addr).is_some())
            && self.admits(id, addr)
    }

    /// Remembers a node that answered us from this address under this id.
    pub(super) fn answered(&mut self, id: Id<20>, addr: SocketAddr, heard: u32, round_trip: Duration) {
        if id == self.table.id() {
            return;
        }
        let round_trip_ms = u16::try_from(round_trip.as_millis()).unwrap_or(u16::MAX);
        if let Some(known) = self.table.get_mut(&id) {
            // Another address under a known id takes over only when the known one is silent.
            if known.addr == addr {
                (known.heard, known.failures, known.round_trip_ms) = (heard, 0, round_trip_ms);
                return;
            }
            if known.failures == 0 {
                return;
            }
            self.table.remove(&id);
        }
        // A node that has taken another id has no more use for the place of its old one.
        let old = self.table.iter().find(|known| known.addr == addr).map(|known| known.id);
        if let Some(old) = old {
            self.table.remove(&old);
        }
        if !self.admits(&id, &addr) {
            return;
        }
        let secure = self.is_trusted(&id, &addr);
        let contact = Contact { id, addr, heard, round_trip_ms, failures: 0, secure };
        if self.table.insert(contact.clone()) == Place::RowFull
            && let Some(victim) = self.victim(&id, &addr)
        {
            self.table.remove(&victim);
            self.table.insert(contact);
        }
    }

    /// Counts a query that a node did not answer.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        let Some(known) = self.table.iter_mut().find(|known| known.addr == addr) else { return };
        known.failures += 1;
        if known.failures >= FAILURES_MAX {
            let id = known.id;
            self.table.remove(&id);
        }
    }

    /// Moves to another own id, and keeps who finds a place.
    pub(super) fn rebase(&mut self, id: Id<20>) {
        self.table.rebase(id);
    }

    /// Goes through the nodes closest to a target, closest first, without those that seem gone.
    pub(super) fn closest(&self, target: &Id<20>) -> impl Iterator<Item = &Contact> {
        let nearest = self.table.closest(target).into_nodes();
        nearest.into_iter().flatten().filter(|contact| contact.failures == 0)
    }

    /// Returns the node heard from longest ago, if that is before `before`.
    pub(super) fn stalest(&self, before: u32) -> Option<&Contact> {
        self.table.iter().filter(|contact| contact.heard < before).min_by_key(|contact| contact.heard)
    }

    /// Holds a newcomer to the limits of its network block.
    fn admits(&self, id: &Id<20>, addr: &SocketAddr) -> bool {
        if self.binding == Binding::Required && !is_secure(id, addr.ip()) {
            return false;
        }
        if !self.diversity.counts(addr) {
            return self.table.iter().all(|known| known.addr != *addr);
        }
        let block = Block::of(addr.ip());
        let neighbour = |known: &&Contact| Block::of(known.addr.ip()) == block;
        self.table.iter().all(|known| known.addr.ip() != addr.ip())
            && self.table.iter().filter(neighbour).count() < BLOCK_IN_TABLE_MAX
            && self.table.neighbours(id).iter().filter(neighbour).count() < BLOCK_IN_ROW_MAX
    }

    /// Names who makes room for a newcomer in a full row: one that seems gone, or one with an id that does not
    /// belong to its address where the newcomer's does. Old nodes that answer are kept.
    fn victim(&self, id: &Id<20>, addr: &SocketAddr) -> Option<Id<20>> {
        let secure = self.is_trusted(id, addr);
        let row = self.table.neighbours(id).iter();
        let worse = |known: &&Contact| known.failures > 0 || secure && !known.secure;
        row.filter(worse).max_by_key(|known| (known.failures, !known.secure)).map(|known| known.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(binding: Binding) -> Contacts {
        Contacts::new(Id([0; 20]), Diversity::Public, binding)
    }

    fn add(contacts: &mut Contacts, n: u8, addr: &str) {
        let mut id = [n; 20];
        id[0] = 0x80;
        contacts.answered(Id(id), addr.parse().unwrap(), 1, Duration::from_millis(5));
    }

    #[test]
    fn one_block_gets_two_places_in_a_row_and_one_address_one() {
        let mut contacts = contacts(Binding::Off);
        for n in 0..100 {
            add(&mut contacts, n, &format!("44.1.1.{n}:1"));
            add(&mut contacts, n + 100, "44.2.2.2:1");
        }
        assert_eq!(contacts.table().len(), 3);
        for n in 0..15 {
            add(&mut contacts, n + 220, &format!("127.0.0.1:{}", n + 1));
        }
        assert_eq!(contacts.table().len(), 18);
    }

    #[test]
    fn a_bound_id_displaces_one_that_is_not_and_neither_displaces_its_like() {
        let mut contacts = contacts(Binding::Preferred);
        for n in 0..30 {
            add(&mut contacts, n, &format!("44.{n}.1.1:1"));
        }
        assert_eq!(contacts.table().len(), K);
        let before: Vec<_> = contacts.table().iter().map(|known| known.id).collect();
        add(&mut contacts, 99, "44.99.1.1:1");
        assert_eq!(contacts.table().iter().map(|known| known.id).collect::<Vec<_>>(), before);
        add(&mut contacts, 98, "10.0.0.1:1");
        assert!(contacts.table().iter().any(|known| known.secure));
        assert_eq!(contacts.table().len(), K);
    }

    #[test]
    fn a_node_that_takes_another_id_leaves_its_old_place() {
        let mut contacts = contacts(Binding::Off);
        add(&mut contacts, 1, "44.1.1.1:1");
        add(&mut contacts, 2, "44.1.1.1:1");
        let ids: Vec<_> = contacts.table().iter().map(|known| known.id.0[1]).collect();
        assert_eq!(ids, [2]);
    }

    #[test]
    fn who_is_silent_twice_leaves_and_is_not_named_before() {
        let mut contacts = contacts(Binding::Off);
        add(&mut contacts, 1, "44.1.1.1:1");
        let addr = "44.1.1.1:1".parse().unwrap();
        contacts.failed(addr);
        assert_eq!((contacts.table().len(), contacts.closest(&Id([0; 20])).count()), (1, 0));
        add(&mut contacts, 1, "44.1.1.1:1");
        contacts.failed(addr);
        contacts.failed(addr);
        assert_eq!(contacts.table().len(), 0);
    }
}
