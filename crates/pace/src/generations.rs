use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

/// A bounded map that forgets by generations (npm `record-cache`, `xache`).
///
/// What is inserted is young. When the young generation has lasted its span, or holds half of what the map
/// may, it becomes the old one and the previous old one is dropped. So an entry lives one to two spans,
/// less only where the map is full.
#[derive(Debug, Clone)]
pub struct Generations<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    span: Duration,
    half: usize,
    turn: Option<Instant>,
}

impl<K: Ord, V> Generations<K, V> {
    /// Creates a map of at most `len_max` entries, each kept for `span` to twice that.
    #[must_use]
    pub const fn new(len_max: usize, span: Duration) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), span, half: len_max / 2, turn: None }
    }

    /// Adds or replaces an entry, and makes it young.
    pub fn insert(&mut self, now: Instant, key: K, value: V) {
        self.expire(now);
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.advance(now);
        }
        self.turn.get_or_insert(now + self.span);
        self.young.insert(key, value);
    }

    /// Finds an entry.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Finds an entry and makes it young, so that what is used lives on.
    pub fn refresh<Q: Ord + ?Sized>(&mut self, now: Instant, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.expire(now);
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(now, key, value);
        }
        self.young.get(key)
    }

    /// Removes an entry.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }

    /// Goes through the entries of a range, the young ones first.
    pub fn range<R: RangeBounds<K> + Clone>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        self.young.range(range.clone()).chain(self.old.range(range))
    }

    /// Goes through all entries, the young ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }

    /// Counts the entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// Drops what is too old at `now`.
    pub fn expire(&mut self, now: Instant) {
        // Two turns empty the map, however long it was left alone.
        for _ in 0..2 {
            if self.turn.is_some_and(|turn| turn <= now) {
                self.advance(now);
            }
        }
    }

    /// Drops the old generation at once and makes the young one old, to make room.
    pub fn advance(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        let due = self.turn.filter(|turn| *turn <= now);
        self.turn = if self.old.is_empty() { None } else { Some(due.unwrap_or(now) + self.span) };
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn an_entry_lives_between_one_and_two_spans() {
        let start = Instant::now();
        let mut map = Generations::new(100, 10 * MINUTE);
        map.insert(start, "first", 1);
        map.insert(start + 9 * MINUTE, "second", 2);
        map.expire(start + 19 * MINUTE);
        assert_eq!((map.get("first"), map.get("second")), (Some(&1), Some(&2)));
        map.expire(start + 20 * MINUTE);
        assert_eq!((map.get("first"), map.get("second"), map.len()), (None, None, 0));
    }

    #[test]
    fn use_keeps_an_entry_and_neglect_empties_the_map() {
        let start = Instant::now();
        let mut map = Generations::new(100, 10 * MINUTE);
        map.insert(start, "used", 1);
        map.insert(start, "unused", 2);
        assert_eq!(map.refresh(start + 15 * MINUTE, "used"), Some(&1));
        map.expire(start + 25 * MINUTE);
        assert_eq!((map.get("used"), map.get("unused")), (Some(&1), None));
        map.expire(start + 500 * MINUTE);
        assert!(map.is_empty());
    }

    #[test]
    fn a_full_map_gives_up_its_old_half() {
        let start = Instant::now();
        let mut map = Generations::new(100, MINUTE);
        for n in 0..1000 {
            map.insert(start, n, ());
            assert!(map.len() <= 100);
        }
        assert_eq!((map.get(&999), map.get(&800)), (Some(&()), None));
    }

    #[test]
    fn replacing_and_removing_leave_one_truth() {
        let start = Instant::now();
        let mut map = Generations::new(100, 10 * MINUTE);
        map.insert(start, "key", 1);
        map.insert(start + 11 * MINUTE, "key", 2);
        assert_eq!((map.get("key"), map.len()), (Some(&2), 1));
        assert_eq!(map.remove("key"), Some(2));
        assert_eq!(map.get("key"), None);
    }
}
