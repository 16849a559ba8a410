use std::process::ExitCode;

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One comparison.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was measured, with its unit.
    pub(crate) name: String,
    pub(crate) better: Better,
    pub(crate) ours: f64,
    /// Absent where the reference has no such figure.
    pub(crate) reference: Option<f64>,
    /// The least that a server on the same system calls spends.
    pub(crate) floor: Option<f64>,
    /// What is promised.
    pub(crate) targets: Vec<Target>,
}

/// A promise about a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// At least this many times as good as the reference.
    TimesReference(f64),
    /// At least this share of the floor.
    ShareOfFloor(f64),
    /// At most this.
    AtMost(f64),
}

impl Row {
    /// How many times as good as the reference; above 1 is better.
    fn times_reference(&self) -> Option<f64> {
        self.reference.map(|theirs| match self.better {
            Better::Higher => self.ours / theirs,
            Better::Lower => theirs / self.ours,
        })
    }

    fn share_of_floor(&self) -> Option<f64> {
        self.floor.map(|floor| self.ours / floor)
    }

    fn missed(&self) -> Vec<Target> {
        let holds = |target: &Target| match *target {
            Target::TimesReference(least) => self.times_reference().is_some_and(|times| times >= least),
            Target::ShareOfFloor(least) => self.share_of_floor().is_some_and(|share| share >= least),
            Target::AtMost(most) => self.ours <= most,
        };
        self.targets.iter().copied().filter(|target| !holds(target)).collect()
    }

    fn text(&self) -> String {
        let optional = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), grouped);
        let ratio =
            |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let missed = self.missed();
        let verdict = match (self.targets.is_empty(), missed.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "met".to_owned(),
            (false, false) => format!("MISSED {missed:?}"),
        };
        format!(
            "{:<44} {:>11} {:>11} {:>7} {:>11} {:>7}  {verdict}",
            self.name,
            grouped(self.ours),
            optional(self.reference),
            ratio(self.times_reference()),
            optional(self.floor),
            ratio(self.share_of_floor()),
        )
    }
}

/// Comparisons, printed as they come.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: usize,
    missed: usize,
}

impl Report {
    /// Prints a row, the first one under a heading.
    pub(crate) fn add(&mut self, row: &Row) {
        if self.rows == 0 {
            let (ours, reference, times) = ("ours", "reference", "times");
            println!("{:<44} {ours:>11} {reference:>11} {times:>7} {:>11} {:>7}", "", "floor", "share");
        }
        self.rows += 1;
        self.missed += usize::from(!row.missed().is_empty());
        println!("{}", row.text());
    }

    /// Success where every promise was kept.
    pub(crate) fn verdict(&self) -> ExitCode {
        println!("{} of {} figures miss their target", self.missed, self.rows);
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The middle one, or the mean of the middle two; not a number where there is none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    quantile(&mut figures, 0.5)
}

/// The figure that this share of all figures does not exceed, between neighbours linearly.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index between 0 and the length"
)]
#[expect(clippy::cast_precision_loss, reason = "a handful of figures")]
pub(crate) fn quantile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = share * figures.len().saturating_sub(1) as f64;
    let (low, high) = (figures.get(at.floor() as usize), figures.get(at.ceil() as usize));
    match (low, high) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => f64::NAN,
    }
}

/// A figure as people read it: thousands apart, decimals only where they matter.
fn grouped(figure: f64) -> String {
    if figure.abs() < 1000.0 {
        return format!("{figure:.2}");
    }
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!((quantile(&mut [0.0, 10.0], 0.99) - 9.9).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_target_is_missed_on_the_wrong_side_only() {
        let mut row = Row {
            name: String::new(),
            better: Better::Higher,
            ours: 200.0,
            reference: Some(100.0),
            floor: Some(240.0),
            targets: vec![Target::TimesReference(2.0), Target::ShareOfFloor(0.8)],
        };
        assert_eq!(row.missed(), []);
        row.ours = 191.0;
        assert_eq!(row.missed(), row.targets);
        row.better = Better::Lower;
        row.targets = vec![Target::TimesReference(0.5), Target::AtMost(191.0)];
        assert_eq!(row.missed(), []);
    }
}
