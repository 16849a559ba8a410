//! Whom this node sent datagrams to: they know its address.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use crate::batch::Slot;
use crate::snapshot::Contacted;

/// Addresses remembered; the first stay, and what goes to others is only counted.
const CONTACTS_MAX: usize = 4096;

/// An address that this node sent to, and that therefore knows its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// The address.
    pub address: SocketAddrV4,
    /// When the first datagram was sent.
    pub first: Instant,
    /// When the last one was.
    pub last: Instant,
    /// How many were.
    pub packets: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Contacts {
    known: BTreeMap<SocketAddrV4, Contact>,
    beyond: u64,
}

impl Contacts {
    pub(crate) fn note(&mut self, slots: &[Slot]) {
        let now = Instant::now();
        for slot in slots {
            let std::net::SocketAddr::V4(address) = slot.transmit.to else { continue };
            if let Some(contact) = self.known.get_mut(&address) {
                contact.last = now;
                contact.packets += 1;
            } else if self.known.len() < CONTACTS_MAX {
                self.known.insert(address, Contact { address, first: now, last: now, packets: 1 });
            } else {
                self.beyond += 1;
            }
        }
    }

    pub(crate) fn counts(&self) -> Contacted {
        Contacted { addresses: self.known.len(), beyond: self.beyond }
    }

    pub(crate) fn list(&self) -> Vec<Contact> {
        self.known.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use wire::{SocketId, Transmit};

    use super::*;

    #[test]
    fn addresses_are_listed_once_and_beyond_the_limit_only_counted() {
        let mut contacts = Contacts::default();
        let slot = |n: u16| {
            let to = SocketAddrV4::new([10, 0, 0, 1].into(), n + 1).into();
            Slot { transmit: Transmit::new(SocketId::SERVER, to), bytes: Vec::new() }
        };
        contacts.note(&[slot(7), slot(8), slot(7)]);
        let listed: Vec<_> = contacts.list().iter().map(|c| (c.address.port(), c.packets)).collect();
        assert_eq!(listed, [(8, 2), (9, 1)]);
        for n in 0..5000 {
            contacts.note(&[slot(n)]);
        }
        assert_eq!(contacts.counts(), Contacted { addresses: 4096, beyond: 5000 - 4096 });
        assert_eq!(contacts.list().len(), 4096);
    }
}
