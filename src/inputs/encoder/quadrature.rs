//! Two channels, a quarter of a period apart, as a count: pure.
//!
//! Forward, channel A leads: (A, B) goes 00, 10, 11, 01, 00. Each of these steps is an edge of one channel alone, so every
//! edge says its direction.

use serde::Deserialize;

use super::super::edges::Sequence;
use super::Doubts;

/// How many counts a period of the encoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Resolution {
    /// One: counts change where A rises on the way forward.
    #[serde(rename = "x1")]
    X1,
    /// Two: where A rises and falls.
    #[serde(rename = "x2")]
    X2,
    /// Four: at every edge.
    #[default]
    #[serde(rename = "x4")]
    X4,
}

impl Resolution {
    fn quarters(self) -> i64 {
        match self {
            Resolution::X1 => 4,
            Resolution::X2 => 2,
            Resolution::X4 => 1,
        }
    }
}

/// One of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The one that leads on the way forward.
    A,
    /// The one that follows.
    B,
}

/// Counts quarters of a period.
#[derive(Debug)]
pub struct Quadrature {
    resolution: Resolution,
    a: bool,
    b: bool,
    /// Where the encoder is, in quarters of a period; 0 modulo 4 is A high and B low.
    quarters: i64,
    /// The count at the start.
    origin: i64,
    /// 1 forward, -1 backward, 0 before the first edge.
    direction: i64,
    sequence: Sequence,
    doubts: Doubts,
}

/// Quarters from where A has risen.
fn phase(a: bool, b: bool) -> i64 {
    match (a, b) {
        (true, false) => 0,
        (true, true) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

impl Quadrature {
    /// Begins at count 0 with the channels' levels.
    pub fn new(resolution: Resolution, a: bool, b: bool) -> Self {
        let quarters = phase(a, b);
        let origin = quarters.div_euclid(resolution.quarters());
        let (sequence, doubts) = (Sequence::default(), Doubts::default());
        Quadrature { resolution, a, b, quarters, origin, direction: 0, sequence, doubts }
    }

    /// The device was away, and has these levels now: the count stays, the way in between is not known.
    pub fn resume(&mut self, a: bool, b: bool) {
        let count = self.count();
        let doubts = Doubts { gaps: self.doubts.gaps + 1, ..self.doubts };
        *self = Quadrature { doubts, ..Quadrature::new(self.resolution, a, b) };
        self.origin -= count;
    }

    /// Takes an edge of `channel` to `level`, with its `number` in the sequence of both channels' edges, which begins with 1.
    pub fn edge(&mut self, channel: Channel, level: bool, number: u32) {
        let missing = self.sequence.missing_before(number);
        if missing > 0 {
            self.bridge(missing, channel, level);
        }
        let line = self.line(channel);
        if *line == level {
            // It went there and back: no way, whichever direction that was.
            self.doubts.noise += 1;
            return;
        }
        *line = level;
        // One channel alone has changed: the new phase is one quarter before or after the old one.
        let step = (phase(self.a, self.b) - self.quarters + 1).rem_euclid(4) - 1;
        self.quarters += step;
        let turned = self.direction == -step;
        self.doubts.turns += u64::from(turned);
        self.direction = step;
    }

    /// Counts since the start.
    pub fn count(&self) -> i64 {
        self.quarters.div_euclid(self.resolution.quarters()) - self.origin
    }

    /// What must make a person doubt the count.
    pub fn doubts(&self) -> Doubts {
        self.doubts
    }

    fn line(&mut self, channel: Channel) -> &mut bool {
        match channel {
            Channel::A => &mut self.a,
            Channel::B => &mut self.b,
        }
    }

    /// `missing` edges were lost before one of `channel` to `level`. A belt does not turn within the moment in which a buffer
    /// overflows: the way is as long as the edges that are missing, as far as the levels around them agree.
    fn bridge(&mut self, missing: u64, channel: Channel, level: bool) {
        self.doubts.gaps += 1;
        // Each edge changes one level, so that after an odd number of them one channel has changed, else none or both.
        let odd = missing % 2 == 1;
        let changed = *self.line(channel) == level;
        *self.line(channel) ^= changed;
        let other = match channel {
            Channel::A => Channel::B,
            Channel::B => Channel::A,
        };
        *self.line(other) ^= changed != odd;
        let needed = phase(self.a, self.b) - self.quarters;
        let direction = match self.direction {
            0 if needed.rem_euclid(4) == 3 => -1,
            0 => 1,
            known => known,
        };
        let missing = i64::try_from(missing).unwrap_or(i64::MAX / 2);
        let agrees = (direction * missing - needed).rem_euclid(4) == 0;
        self.quarters += direction * if agrees { missing } else { missing - 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const RESOLUTIONS: [Resolution; 3] = [Resolution::X1, Resolution::X2, Resolution::X4];

    /// An encoder's disc: where it is, and its channels.
    struct Disc {
        quarters: i64,
        number: u32,
    }

    impl Disc {
        fn levels(&self) -> (bool, bool) {
            [(true, false), (true, true), (false, true), (false, false)][self.quarters.rem_euclid(4) as usize]
        }

        /// The edge of one quarter's way.
        fn step(&mut self, forward: bool) -> (Channel, bool, u32) {
            let before = self.levels();
            self.quarters += if forward { 1 } else { -1 };
            self.number += 1;
            let after = self.levels();
            match before.0 != after.0 {
                true => (Channel::A, after.0, self.number),
                false => (Channel::B, after.1, self.number),
            }
        }

        /// Turns by so many quarters, seen by nobody.
        fn turn(&mut self, quarters: i64, mut forward: impl FnMut() -> bool) {
            for _ in 0..quarters {
                self.step(forward());
            }
        }

        fn count(&self, start: i64, resolution: Resolution) -> i64 {
            let size = resolution.quarters();
            self.quarters.div_euclid(size) - start.div_euclid(size)
        }
    }

    fn walk(seed: u64, mut step: impl FnMut(&mut ChaCha8Rng, Resolution)) {
        for resolution in RESOLUTIONS {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (0..60).for_each(|_| step(&mut random, resolution));
        }
    }

    /// A disc somewhere on its first turn, and a decoder that begins there.
    fn rig(random: &mut impl Rng, resolution: Resolution) -> (Disc, i64, Quadrature) {
        let disc = Disc { quarters: random.random_range(0..4), number: 0 };
        let (a, b) = disc.levels();
        let (start, decoder) = (disc.quarters, Quadrature::new(resolution, a, b));
        (disc, start, decoder)
    }

    fn feed(decoder: &mut Quadrature, (channel, level, number): (Channel, bool, u32)) {
        decoder.edge(channel, level, number);
    }

    #[test]
    fn a_turn_forward_is_the_resolution_and_a_leads() {
        for (resolution, counts) in RESOLUTIONS.into_iter().zip([[1, 1, 1, 1], [1, 1, 2, 2], [1, 2, 3, 4]]) {
            let mut decoder = Quadrature::new(resolution, false, false);
            let edges = [(Channel::A, true, 1), (Channel::B, true, 2), (Channel::A, false, 3), (Channel::B, false, 4)];
            let seen = edges.map(|edge| {
                feed(&mut decoder, edge);
                decoder.count()
            });
            assert_eq!(seen, counts, "{resolution:?}");
        }
    }

    #[test]
    fn any_walk_is_counted_and_leaves_no_doubt() {
        walk(1, |random, resolution| {
            let (mut disc, start, mut decoder) = rig(random, resolution);
            for _ in 0..500 {
                feed(&mut decoder, disc.step(random.random_bool(0.6)));
                assert_eq!(decoder.count(), disc.count(start, resolution));
            }
            assert_eq!((decoder.doubts().noise, decoder.doubts().gaps), (0, 0));
        });
    }

    #[test]
    fn noise_is_counted_and_moves_nothing() {
        walk(2, |random, resolution| {
            let (mut disc, start, mut decoder) = rig(random, resolution);
            let mut noise = 0;
            for _ in 0..500 {
                if random.random_bool(0.2) {
                    disc.number += 1;
                    noise += 1;
                    let (a, b) = disc.levels();
                    let repeated = if random.random() { (Channel::A, a) } else { (Channel::B, b) };
                    decoder.edge(repeated.0, repeated.1, disc.number);
                }
                feed(&mut decoder, disc.step(random.random_bool(0.9)));
                assert_eq!(decoder.count(), disc.count(start, resolution));
            }
            assert_eq!((decoder.doubts().noise, decoder.doubts().gaps), (noise, 0));
        });
    }

    #[test]
    fn edges_lost_on_a_belt_that_keeps_its_direction_do_not_change_the_count() {
        walk(3, |random, resolution| {
            let forward = random.random();
            let (mut disc, start, mut decoder) = rig(random, resolution);
            feed(&mut decoder, disc.step(forward));
            let mut gaps = 0;
            for _ in 0..100 {
                let lost: i64 = random.random_range(0..3000);
                disc.turn(lost, || forward);
                gaps += u64::from(lost > 0);
                feed(&mut decoder, disc.step(forward));
                assert_eq!(decoder.count(), disc.count(start, resolution));
            }
            assert_eq!(decoder.doubts(), Doubts { gaps, ..Doubts::default() });
        });
    }

    #[test]
    fn edges_lost_on_any_walk_leave_the_levels_right_and_an_error_no_longer_than_they_are() {
        walk(4, |random, resolution| {
            let (mut disc, start, mut decoder) = rig(random, resolution);
            let mut lost = 0;
            for _ in 0..300 {
                if random.random_bool(0.05) {
                    let missing = random.random_range(1..20);
                    disc.turn(missing, || random.random_bool(0.7));
                    lost += 2 * missing;
                }
                feed(&mut decoder, disc.step(random.random_bool(0.7)));
                assert_eq!((decoder.a, decoder.b), disc.levels());
                let error = (decoder.quarters - disc.quarters).abs();
                assert!(error <= lost && error % 4 == 0, "{error} quarters off after {lost} lost edges");
                assert!((decoder.count() - disc.count(start, resolution)).abs() <= error / resolution.quarters() + 1);
            }
            assert_eq!(decoder.doubts().noise, 0);
        });
    }

    #[test]
    fn a_channel_that_is_broken_off_turns_without_a_way() {
        let mut decoder = Quadrature::new(Resolution::X4, false, false);
        (1..=100).for_each(|number| decoder.edge(Channel::B, number % 2 == 1, number));
        assert_eq!((decoder.count(), decoder.doubts().turns), (0, 99));
    }

    #[test]
    fn after_an_outage_the_count_goes_on_with_a_gap_more() {
        walk(6, |random, resolution| {
            let (mut disc, _, mut decoder) = rig(random, resolution);
            (0..random.random_range(0..50)).for_each(|_| feed(&mut decoder, disc.step(true)));
            let before = decoder.count();
            disc.turn(7, || true);
            disc.number = 0;
            let (a, b) = disc.levels();
            let start = disc.quarters;
            decoder.resume(a, b);
            assert_eq!((decoder.count(), decoder.doubts().gaps), (before, 1));
            (0..40).for_each(|_| feed(&mut decoder, disc.step(true)));
            assert_eq!((decoder.count(), decoder.doubts().gaps), (before + disc.count(start, resolution), 1));
        });
    }
}
