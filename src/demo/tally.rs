//! Fates against the truth.

use std::fmt;

use crate::line::Fate;
use crate::synthetic::{Product, Truth};

/// How a part's fate compares with what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A defective part that was not ejected.
    Missed,
    /// A good part that was.
    FalseReject,
    /// A defective part that was ejected.
    Rejected,
    /// A good part that went on.
    Passed,
}

/// Counts of one product or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Parts that passed the camera.
    pub parts: u64,
    /// Parts with a defect.
    pub defective: u64,
    /// Parts that were ejected.
    pub rejected: u64,
    /// Good parts that were ejected.
    pub false_rejects: u64,
    /// Parts with a defect that were not ejected.
    pub missed: u64,
}

/// Counts per product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    products: [Score; Product::ALL.len()],
}

impl Tally {
    /// Counts a part.
    pub(super) fn add(&mut self, truth: Truth, fate: &Fate) -> Outcome {
        let (defective, rejected) = (truth.defect.is_some(), *fate == Fate::Rejected);
        let score = &mut self.products[truth.product as usize];
        score.parts += 1;
        score.defective += u64::from(defective);
        score.rejected += u64::from(rejected);
        score.false_rejects += u64::from(rejected && !defective);
        score.missed += u64::from(defective && !rejected);
        match (defective, rejected) {
            (true, false) => Outcome::Missed,
            (false, true) => Outcome::FalseReject,
            (true, true) => Outcome::Rejected,
            (false, false) => Outcome::Passed,
        }
    }

    /// The counts of all products together.
    pub fn total(&self) -> Score {
        self.products.iter().fold(Score::default(), |sum, score| Score {
            parts: sum.parts + score.parts,
            defective: sum.defective + score.defective,
            rejected: sum.rejected + score.rejected,
            false_rejects: sum.false_rejects + score.false_rejects,
            missed: sum.missed + score.missed,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "product     parts  defective  rejected  false rejects     missed")?;
        let named = Product::ALL.iter().map(|product| product.name()).zip(self.products);
        for (name, score) in named.chain([("all", self.total())]) {
            let Score { parts, defective, rejected, false_rejects, missed } = score;
            let rate = |count: u64, of: u64| format!("{count} ({:.1}%)", 100.0 * count as f64 / of.max(1) as f64);
            let (false_rejects, missed) = (rate(false_rejects, parts - defective), rate(missed, defective));
            writeln!(f, "{name:<10} {parts:>6} {defective:>10} {rejected:>9} {false_rejects:>14} {missed:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::DefectKind;

    #[test]
    fn every_fate_is_held_against_the_truth() {
        let late = || Fate::Unaccounted("late".into());
        let scratched = Some(DefectKind::Scratch);
        let cases = [
            (None, Fate::Passed, Outcome::Passed),
            (None, Fate::Rejected, Outcome::FalseReject),
            (None, late(), Outcome::Passed),
            (scratched, Fate::Passed, Outcome::Missed),
            (scratched, Fate::Rejected, Outcome::Rejected),
            (scratched, late(), Outcome::Missed),
        ];
        let mut tally = Tally::default();
        for (defect, fate, outcome) in cases {
            assert_eq!(tally.add(Truth { product: Product::Cap, defect }, &fate), outcome);
        }
        let expected = Score { parts: 6, defective: 3, rejected: 2, false_rejects: 1, missed: 2 };
        assert_eq!(tally.total(), expected);
        assert!(tally.to_string().contains("2 (66.7%)"));
    }
}
