use std::net::SocketAddrV4;

use rand::{Rng, RngExt};
use wire::Id;

/// Nodes in one row of the table, and in one answer (`dht-rpc`, Kademlia's k).
pub(crate) const K: usize = 20;

/// A node that answered a query of ours, with what we remember of it. Ticks are those of upkeep.
#[derive(Clone, Debug)]
pub(crate) struct Node<const N: usize> {
    pub(crate) id: Id<N>,
    pub(crate) addr: SocketAddrV4,
    /// Our address as it told us.
    pub(crate) to: SocketAddrV4,
    pub(crate) added: u32,
    pub(crate) pinged: u32,
    pub(crate) seen: u32,
    /// When its view of our address was last counted.
    pub(crate) sampled: Option<u32>,
    /// Grows with every contact of any node: orders nodes by how long ago they were heard.
    pub(crate) contact: u64,
    pub(crate) down_hints: u16,
}

/// What a table keeps: a node, and whatever its owner remembers of it.
pub(crate) trait Entry<const N: usize> {
    fn id(&self) -> &Id<N>;
}

impl<const N: usize> Entry<N> for Node<N> {
    fn id(&self) -> &Id<N> {
        &self.id
    }
}

/// A Kademlia routing table: one row for each count of leading bits shared with our id.
#[derive(Debug)]
pub(crate) struct Table<const N: usize, E = Node<N>> {
    id: Id<N>,
    /// Sorted by id, at most [`K`] each. Grown as far as the deepest row in use.
    rows: Vec<Vec<E>>,
}

/// What became of a node offered to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Taken,
    RowFull,
}

impl<const N: usize, E: Entry<N>> Table<N, E> {
    pub(crate) const fn new(id: Id<N>) -> Self {
        Self { id, rows: Vec::new() }
    }

    pub(crate) const fn id(&self) -> Id<N> {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.rows.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.rows.iter_mut().flatten()
    }

    /// Counts the nodes of each row, from those that share no bit with us.
    pub(crate) fn fill(&self) -> Vec<u8> {
        self.rows.iter().map(|row| u8::try_from(row.len()).unwrap_or(u8::MAX)).collect()
    }

    pub(crate) fn get(&self, id: &Id<N>) -> Option<&E> {
        let row = self.rows.get(self.row_of(id))?;
        row.binary_search_by(|node| node.id().cmp(id)).ok().map(|at| &row[at])
    }

    pub(crate) fn get_mut(&mut self, id: &Id<N>) -> Option<&mut E> {
        let row = self.row_of(id);
        let row = self.rows.get_mut(row)?;
        row.binary_search_by(|node| node.id().cmp(id)).ok().map(|at| &mut row[at])
    }

    /// Adds a node, or replaces the one with its id.
    pub(crate) fn insert(&mut self, node: E) -> Place {
        let at = self.row_of(node.id());
        if at >= self.rows.len() {
            self.rows.resize_with(at + 1, Vec::new);
        }
        let row = &mut self.rows[at];
        match row.binary_search_by(|known| known.id().cmp(node.id())) {
            Ok(at) => row[at] = node,
            Err(_) if row.len() >= K => return Place::RowFull,
            Err(at) => {
                if row.len() == row.capacity() {
                    // Doubling would end at room for 32 nodes in a row that holds 20 at most.
                    row.reserve_exact(row.len().max(2).min(K - row.len()));
                }
                row.insert(at, node);
            }
        }
        Place::Taken
    }

    pub(crate) fn remove(&mut self, id: &Id<N>) -> Option<E> {
        let row = self.row_of(id);
        let row = self.rows.get_mut(row)?;
        row.binary_search_by(|node| node.id().cmp(id)).ok().map(|at| row.remove(at))
    }

    /// Moves to another own id; nodes that find their new row full are dropped.
    pub(crate) fn rebase(&mut self, id: Id<N>) {
        let rows = std::mem::take(&mut self.rows);
        self.id = id;
        for node in rows.into_iter().flatten() {
            self.insert(node);
        }
    }

    /// Returns the nodes that share a row with `id`.
    pub(crate) fn neighbours(&self, id: &Id<N>) -> &[E] {
        self.rows.get(self.row_of(id)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn random(&self, rng: &mut impl Rng) -> Option<&E> {
        let len = self.len();
        if len == 0 { None } else { self.iter().nth(rng.random_range(0..len)) }
    }

    /// Finds the [`K`] nodes closest to `target`, in XOR order, without allocating.
    ///
    /// Nodes in the target's row are closer than all others. Next come those of deeper rows, which differ
    /// from the target in the bit where we do; then each shallower row in turn.
    pub(crate) fn closest(&self, target: &Id<N>) -> Nearest<'_, N, E> {
        let mut nearest = Nearest { keys: [0; K], nodes: [None; K], len: 0 };
        let row = self.row_of(target);
        let (shallow, rest) = self.rows.split_at(row.min(self.rows.len()));
        if let Some((own, deeper)) = rest.split_first() {
            nearest.add_group(target, own.iter());
            nearest.add_group(target, deeper.iter().flatten());
        }
        for row in shallow.iter().rev() {
            nearest.add_group(target, row.iter());
        }
        nearest
    }

    fn row_of(&self, id: &Id<N>) -> usize {
        self.id.shared_bits(id).min(8 * N - 1)
    }
}

/// Up to [`K`] nodes, closest first.
#[derive(Debug)]
pub(crate) struct Nearest<'a, const N: usize, E> {
    keys: [u64; K],
    nodes: [Option<&'a E>; K],
    len: usize,
}

impl<'a, const N: usize, E: Entry<N>> Nearest<'a, N, E> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a E> {
        self.nodes.iter().flatten().copied()
    }

    pub(crate) const fn into_nodes(self) -> [Option<&'a E>; K] {
        self.nodes
    }

    /// Adds nodes that are all farther than those that are there.
    fn add_group(&mut self, target: &Id<N>, group: impl Iterator<Item = &'a E>) {
        let start = self.len;
        if start == K {
            return;
        }
        for node in group {
            let key = node.id().prefix() ^ target.prefix();
            let closer = |keys: &[u64; K], nodes: &[Option<&E>; K], at: usize| {
                key < keys[at]
                    || key == keys[at]
                        && nodes[at]
                            .is_some_and(|other| node.id().distance(target) < other.id().distance(target))
            };
            if self.len == K {
                if !closer(&self.keys, &self.nodes, K - 1) {
                    continue;
                }
                self.len -= 1;
            }
            let mut at = self.len;
            while at > start && closer(&self.keys, &self.nodes, at - 1) {
                (self.keys[at], self.nodes[at]) = (self.keys[at - 1], self.nodes[at - 1]);
                at -= 1;
            }
            (self.keys[at], self.nodes[at]) = (key, Some(node));
            self.len += 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    pub(crate) fn node<const N: usize>(id: Id<N>) -> Node<N> {
        let addr = "10.0.0.1:1".parse().unwrap();
        Node { id, addr, to: addr, added: 0, pinged: 0, seen: 0, sampled: None, contact: 0, down_hints: 0 }
    }

    #[test]
    fn closest_is_the_sorted_list_of_all_nodes_cut_at_k() {
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..60 {
            // Two-byte ids fill deep rows and collide in the eight-byte prefix only when equal; ten-byte ids
            // that differ in the last byte exercise the tie of prefixes.
            let mut id = || {
                let mut id = [0; 10];
                let varying = if round % 2 == 0 { 0..2 } else { 8..10 };
                rng.fill_bytes(&mut id[varying]);
                Id(id)
            };
            let mut table = Table::new(id());
            let mut all = Vec::new();
            for _ in 0..300 {
                let node = node(id());
                if table.get(&node.id).is_none() && table.insert(node.clone()) == Place::Taken {
                    all.push(node.id);
                }
            }
            let target = id();
            all.sort_by_key(|id| id.distance(&target));
            all.truncate(K);
            let closest: Vec<_> = table.closest(&target).iter().map(|node| node.id).collect();
            assert_eq!(closest, all);
        }
    }

    #[test]
    fn rows_are_bounded_and_rebasing_keeps_what_fits() {
        let mut table = Table::new(Id([0; 2]));
        for n in 0..=255 {
            let place = table.insert(node(Id([0x80, n])));
            assert_eq!(place, if usize::from(n) < K { Place::Taken } else { Place::RowFull });
        }
        assert_eq!((table.len(), table.fill()), (K, vec![20]));
        table.rebase(Id([0x80, 0]));
        assert_eq!(table.len(), K);
        assert!(table.get(&Id([0x80, 3])).is_some());
        assert_eq!(table.remove(&Id([0x80, 3])).map(|node| node.id), Some(Id([0x80, 3])));
        assert!(table.get(&Id([0x80, 3])).is_none());
        assert_eq!(table.neighbours(&Id([0x80, 19])).len(), 4);
    }
}
