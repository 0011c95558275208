//! What is drawn at random, each draw from a stream of its own.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What a random stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The blocks' orthogonal matrices.
    Mixes = 1,
    /// The flow's first parameters.
    Flow = 2,
    /// The mixture's first centers.
    Centers = 3,
    /// The order of the images in an epoch.
    Order = 4,
    /// The positions of a step.
    Positions = 5,
}

/// The random stream of `purpose` at `step` (or epoch) on `level`. Streams are independent, so no draw moves another.
pub fn stream(seed: u64, purpose: Purpose, step: usize, level: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, step as u64, level as u64];
    key.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    ChaCha8Rng::from_seed(key)
}

/// Which images go into which step: every epoch visits all of them in an order of its own, in batches of one size; the
/// few that are left over at the end of an epoch wait for another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batches {
    /// What the order derives from.
    pub seed: u64,
    /// Images in all.
    pub images: usize,
    /// Images per step, at most `images`.
    pub batch: usize,
}

impl Batches {
    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.images / self.batch
    }

    /// The images of `step`.
    pub fn images(&self, step: usize) -> Vec<usize> {
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        let mut order = (0..self.images).collect::<Vec<_>>();
        order.shuffle(&mut stream(self.seed, Purpose::Order, epoch, 0));
        order[place * self.batch..(place + 1) * self.batch].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn an_epoch_visits_each_image_once() {
        let batches = Batches { seed: 3, images: 24, batch: 8 };
        assert_eq!(batches.steps_per_epoch(), 3);
        let epoch = |e: usize| (0..3).flat_map(|s| batches.images(3 * e + s)).collect::<Vec<_>>();
        let mut sorted = epoch(0);
        sorted.sort();
        assert_eq!(sorted, (0..24).collect::<Vec<_>>());
        assert_ne!(epoch(0), epoch(1));
    }

    #[test]
    fn streams_differ_by_every_part_of_their_name() {
        let first = |seed, purpose, step, level| stream(seed, purpose, step, level).random::<u64>();
        let base = first(1, Purpose::Positions, 2, 3);
        assert_eq!(base, first(1, Purpose::Positions, 2, 3));
        let others = [
            first(2, Purpose::Positions, 2, 3),
            first(1, Purpose::Order, 2, 3),
            first(1, Purpose::Positions, 3, 3),
            first(1, Purpose::Positions, 2, 4),
        ];
        assert!(others.iter().all(|other| *other != base));
    }
}
