/// The least value of a sliding window, from three candidates (Kathleen Nichols' filter; libudx has it too).
///
/// A maximum is kept of [`std::cmp::Reverse`]. What the window counts in, time or rounds, is the caller's choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Best<V> {
    span: u64,
    candidates: Option<[(u64, V); 3]>,
}

impl<V: Copy + Ord> Best<V> {
    pub(crate) const fn new(span: u64) -> Self {
        Self { span, candidates: None }
    }

    pub(crate) fn get(&self) -> Option<V> {
        self.candidates.map(|[(_, best), ..]| best)
    }

    /// Adds the value seen at `at`, which never decreases.
    pub(crate) fn add(&mut self, at: u64, value: V) {
        let new = (at, value);
        let [first, second, third] = match self.candidates {
            Some(known) if value > known[0].1 && at - known[2].0 <= self.span => known,
            _ => {
                self.candidates = Some([new; 3]);
                return;
            }
        };
        let [first, second, third] = if value <= second.1 {
            [first, new, new]
        } else if value <= third.1 {
            [first, second, new]
        } else {
            [first, second, third]
        };
        let age = at - first.0;
        self.candidates = Some(if age > self.span {
            if at - second.0 > self.span { [third, new, new] } else { [second, third, new] }
        } else if second.0 == first.0 && age > self.span / 4 {
            [first, new, new]
        } else if third.0 == second.0 && age > self.span / 2 {
            [first, second, new]
        } else {
            [first, second, third]
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn the_best_is_forgotten_after_the_window() {
        let mut best = Best::new(10);
        for (at, value) in [(0, 5), (1, 9), (4, 7), (8, 8)] {
            best.add(at, value);
            assert_eq!(best.get(), Some(5));
        }
        best.add(11, 9);
        assert_eq!(best.get(), Some(7));
        best.add(12, 3);
        assert_eq!(best.get(), Some(3));
    }

    #[test]
    fn the_estimate_lies_between_the_best_of_the_window_and_the_best_ever() {
        arbtest::arbtest(|u| {
            let mut best = Best::new(10);
            let mut seen = Vec::new();
            let mut at = 0;
            for _ in 0..40 {
                at += u.int_in_range(0..=6u64)?;
                let value = u.int_in_range(0..=100u8)?;
                seen.push((at, value));
                best.add(at, Reverse(value));
                let window = seen.iter().filter(|(then, _)| at - then <= 10);
                let Reverse(estimate) = best.get().unwrap();
                assert!(
                    window.clone().any(|(_, value)| *value == estimate),
                    "what is reported was seen lately"
                );
                assert!(estimate >= value);
            }
            Ok(())
        });
    }
}
