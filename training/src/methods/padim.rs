//! PaDiM: what features are usual at each place, as a Gaussian for each product and cell of the grid.

use hgad::Result;
use hgad::bundle::Distance;

use super::joined::Joined;
use super::{Learned, Lesson, Method, Outcome, told};
use crate::export::NetworkLevel;

/// PaDiM (Defard et al., 2021): no flow, Gaussians straight of the features. The taps are joined, so that it counts how they go
/// together; if wanted, all but some of the channels are left out by chance, as its authors do.
pub struct Padim {
    /// How many channels stay; `None`: all.
    pub channels: Option<usize>,
    /// Which stay, and nothing else, depends on it.
    pub seed: u64,
}

impl Method for Padim {
    /// Prepares the features. The Gaussians themselves are measured of the network that is written, when it is written.
    ///
    /// # Errors
    ///
    /// A seed that the manifest cannot tell of (a usage error).
    fn learn(&self, lesson: &Lesson) -> Result<Outcome> {
        let mut joined = Joined::new(lesson);
        if let Some(channels) = self.channels {
            joined.keep(channels, self.seed);
        }
        let (levels, join) = joined.levels(None);
        let table = toml::Table::from_iter([
            ("method".to_owned(), "padim".into()),
            ("channels".to_owned(), (levels.iter().map(NetworkLevel::channels).sum::<usize>() as i64).into()),
            ("seed".to_owned(), told(self.seed)?),
        ]);
        Ok(Outcome::Learned(Box::new(Learned {
            levels,
            join: Some(join),
            distance: Distance::Cells,
            told: table,
            figures: Vec::new(),
            likelihoods: None,
        })))
    }
}
