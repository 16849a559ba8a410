/// Packet numbers that are in, as disjoint half-open ranges in ascending order; neighbours are one range.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    list: Vec<(u64, u64)>,
}

impl Ranges {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds `start..end` and calls `added` with each part that was not in, in ascending order.
    pub(crate) fn insert(&mut self, start: u64, end: u64, mut added: impl FnMut(u64, u64)) {
        let first = self.list.partition_point(|range| range.1 < start);
        let (mut low, mut high, mut seen, mut after) = (start, end, start, first);
        while let Some(&(from, to)) = self.list.get(after).filter(|range| range.0 <= end) {
            if seen < from {
                added(seen, from);
            }
            (low, high) = (low.min(from), high.max(to));
            seen = seen.max(to);
            after += 1;
        }
        if seen < end {
            added(seen, end);
        }
        match self.list.get_mut(first) {
            Some(only) if after == first + 1 => *only = (low, high),
            _ => drop(self.list.splice(first..after, [(low, high)])),
        }
    }

    /// Forgets everything below `bound`.
    pub(crate) fn forget_below(&mut self, bound: u64) {
        let gone = self.list.partition_point(|range| range.1 <= bound);
        if gone > 0 {
            self.list.drain(..gone);
        }
        if let Some(first) = self.list.first_mut() {
            first.0 = first.0.max(bound);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Counts the ranges.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Counts the numbers that are in.
    pub(crate) fn numbers(&self) -> u64 {
        self.list.iter().map(|range| range.1 - range.0).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.list.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_hold_what_a_set_of_numbers_holds() {
        arbtest::arbtest(|u| {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for _ in 0..u.int_in_range(1..=30)? {
                let start = u.int_in_range(0..=60u64)?;
                if u.ratio(1, 8)? {
                    ranges.forget_below(start);
                    set = set.split_off(&start);
                    continue;
                }
                let end = start + u.int_in_range(1..=9u64)?;
                let mut new = BTreeSet::new();
                ranges.insert(start, end, |from, to| new.extend(from..to));
                let expected: BTreeSet<u64> = (start..end).filter(|n| !set.contains(n)).collect();
                assert_eq!(new, expected);
                set.extend(start..end);
            }
            assert_eq!(ranges.iter().flat_map(|(from, to)| from..to).collect::<BTreeSet<_>>(), set);
            assert_eq!((ranges.numbers(), ranges.is_empty()), (set.len() as u64, set.is_empty()));
            assert!(ranges.list.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
            Ok(())
        });
    }
}
