//! The slides' ablation tables, as rows of settings.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::fit::{LossWeights, Prior, Recipe};

/// One of the four tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Table {
    /// Hierarchical Gaussian mixture prior.
    A,
    /// Number of intra-class centers.
    B,
    /// Anomaly criterion.
    C,
    /// Hyperparameters lambda1 and lambda2.
    D,
}

/// What an image is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// How likely the features are.
    Logps,
    /// How unsure their class is.
    Entropy,
    /// The product of both.
    Both,
}

impl Criterion {
    /// All of them.
    pub const ALL: [Criterion; 3] = [Criterion::Logps, Criterion::Entropy, Criterion::Both];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        ["logps", "entropy", "both"][self as usize]
    }
}

/// One row: how it is trained, and how it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What stands in the table's columns.
    pub columns: Vec<String>,
    /// The hyperparameters; the seed is replaced.
    pub recipe: Recipe,
    /// The criterion.
    pub criterion: Criterion,
}

/// The slides' numbers of centers; the text of table (b) has none, these are those around the ten that the other tables have.
const CENTERS: [usize; 5] = [3, 5, 10, 15, 20];
/// The slides' weights in table (d).
const WEIGHTS: [[f32; 2]; 10] = [
    [1.0, 1.0],
    [1.0, 5.0],
    [1.0, 10.0],
    [1.0, 50.0],
    [1.0, 100.0],
    [0.5, 100.0],
    [1.0, 100.0],
    [5.0, 100.0],
    [10.0, 100.0],
    [20.0, 100.0],
];

impl Table {
    /// Its title.
    pub fn title(self) -> &'static str {
        [
            "(a) Hierarchical Gaussian mixture prior",
            "(b) Number of intra-class centers",
            "(c) Anomaly criterion",
            "(d) Hyperparameters",
        ][self as usize]
    }

    /// The headings of its first columns.
    pub fn headings(self) -> &'static [&'static str] {
        match self {
            Table::A => &["SGC", "FMC", "ICG", "MIM", "Intra"],
            Table::B => &["centers"],
            Table::C => &["logps", "entropy"],
            Table::D => &["lambda1", "lambda2"],
        }
    }

    /// Its rows, of which `whole`, HGAD with all its parts, is one or the basis.
    pub fn rows(self, whole: &Recipe) -> Vec<Row> {
        let row = |columns: Vec<String>, recipe: Recipe| Row { columns, recipe, criterion: Criterion::Both };
        match self {
            Table::A => priors(whole),
            Table::B => {
                let of = |centers: usize| row(vec![centers.to_string()], Recipe { centers, ..*whole });
                CENTERS.into_iter().map(of).collect()
            }
            Table::C => {
                let of = |criterion: Criterion| {
                    let columns = vec![mark(criterion != Criterion::Entropy), mark(criterion != Criterion::Logps)];
                    Row { columns, recipe: *whole, criterion }
                };
                Criterion::ALL.into_iter().map(of).collect()
            }
            Table::D => {
                let of = |[likelihood, information]: [f32; 2]| {
                    let losses = LossWeights { likelihood, information, ..whole.losses };
                    row(vec![likelihood.to_string(), information.to_string()], Recipe { losses, ..*whole })
                };
                WEIGHTS.into_iter().map(of).collect()
            }
        }
    }
}

/// Entropy counts where the products' posterior is learned, which is what mutual information does: elsewhere it tells of nothing that was learned,
/// and of a single center nothing at all.
fn priors(whole: &Recipe) -> Vec<Row> {
    let row =
        |marks: [bool; 5], recipe: Recipe, criterion| Row { columns: marks.map(mark).to_vec(), recipe, criterion };
    let alone = LossWeights { information: 0.0, entropy: 0.0, intra: 0.0, sigmoid: 0.0, ..whole.losses };
    let LossWeights { information, entropy, intra, sigmoid, .. } = whole.losses;
    let with = |prior, losses| Recipe { prior, losses, ..*whole };
    let informed = LossWeights { information, entropy, ..alone };
    let mixed = LossWeights { intra, sigmoid, ..alone };
    use Criterion::{Both, Logps};
    vec![
        row([true, false, false, false, false], whole.single(), Logps),
        row([false, true, false, false, false], with(Prior::FixedCenters, alone), Logps),
        row([false, false, true, false, false], with(Prior::Classes, alone), Logps),
        row([false, false, true, true, false], with(Prior::Classes, informed), Both),
        row([false, true, false, false, true], with(Prior::FixedCenters, mixed), Logps),
        row([false, false, true, true, true], *whole, Both),
    ]
}

fn mark(on: bool) -> String {
    if on { "x".to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_those_of_the_slides() {
        let whole = Recipe::default();
        let counts = [Table::A, Table::B, Table::C, Table::D].map(|table| table.rows(&whole).len());
        assert_eq!(counts, [6, 5, 3, 10]);
        let rows = Table::A.rows(&whole);
        let losses = |row: usize| rows[row].recipe.losses.counted();
        assert_eq!(rows[0].recipe.prior, Prior::Standard);
        assert_eq!(losses(0), [true, false, false, false, false]);
        assert_eq!((rows[1].recipe.prior, losses(1)), (Prior::FixedCenters, [true, false, false, false, false]));
        assert_eq!((rows[2].recipe.prior, losses(2)), (Prior::Classes, [true, false, false, false, false]));
        assert_eq!((rows[3].recipe.prior, losses(3)), (Prior::Classes, [true, true, true, false, false]));
        assert_eq!((rows[4].recipe.prior, losses(4)), (Prior::FixedCenters, [true, false, false, true, true]));
        assert_eq!(rows[5].recipe, whole);
        assert_eq!(rows[4].columns, ["-", "x", "-", "-", "x"]);
        let by_both = rows.iter().map(|row| row.criterion == Criterion::Both).collect::<Vec<_>>();
        assert_eq!(by_both, [false, false, false, true, false, true]);
        assert!(Table::C.rows(&whole).iter().all(|row| row.recipe == whole));
        for row in [Table::A, Table::B, Table::D].iter().flat_map(|table| table.rows(&whole)) {
            row.recipe.check().unwrap();
        }
    }
}
