//! What goes wrong: how often, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What happens to one part, frame or order, and how often.
const CHANCES: [(&str, f64); 16] = [
    ("lost frame", 0.004),
    ("broken frame", 0.002),
    ("doubtful stamp", 0.001),
    ("failed inspection", 0.003),
    ("hung inspection", 0.0005),
    ("slow inspection", 0.01),
    ("failed ejector", 0.002),
    ("late ejector", 0.003),
    ("lost report", 0.001),
    ("encoder noise", 0.0005),
    ("camera counts anew", 0.0005),
    ("touching parts", 0.01),
    ("sliding part", 0.003),
    ("turned part", 0.001),
    ("false segment", 0.0001),
    ("missed segment", 0.0005),
];

/// What lasts: how often it begins in an hour, and how long it lasts in seconds.
const SPELLS: [(Spell, f64, (f64, f64)); 9] = [
    (Spell::CameraLost, 0.5, (0.5, 20.0)),
    (Spell::EncoderStuck, 0.2, (0.5, 30.0)),
    (Spell::EncoderLost, 0.1, (0.5, 10.0)),
    (Spell::EyeBlocked, 0.1, (2.0, 60.0)),
    (Spell::ChuteBlind, 0.1, (1.0, 120.0)),
    (Spell::BinFull, 0.1, (5.0, 300.0)),
    (Spell::Stall, 2.0, (0.02, 0.8)),
    (Spell::Killed, 0.05, (1.0, 1.0)),
    (Spell::OutputLost, 0.2, (0.5, 20.0)),
];

/// What lasts for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Spell {
    /// The camera gives no frames.
    CameraLost,
    /// The encoder's driver lives, but nothing is counted: a slipping wheel, a cut wire.
    EncoderStuck,
    /// The encoder's driver says that it is gone.
    EncoderLost,
    /// Something lies before the photo-eye, or the whole gate is full.
    EyeBlocked,
    /// The sensor in the chute sees nothing.
    ChuteBlind,
    /// The bin is full.
    BinFull,
    /// The machine is busy: the core hears of everything late.
    Stall,
    /// The process is killed and started again.
    Killed,
    /// The ejector's driver fails.
    OutputLost,
}

impl Spell {
    pub(super) fn name(self) -> &'static str {
        match self {
            Spell::CameraLost => "camera lost",
            Spell::EncoderStuck => "encoder stuck",
            Spell::EncoderLost => "encoder lost",
            Spell::EyeBlocked => "eye blocked",
            Spell::ChuteBlind => "chute sensor blind",
            Spell::BinFull => "bin full",
            Spell::Stall => "machine busy",
            Spell::Killed => "process killed",
            Spell::OutputLost => "ejector lost",
        }
    }
}

/// Chance, from a seed.
pub(super) struct Trouble {
    random: ChaCha8Rng,
    is_on: bool,
    pub(super) met: BTreeMap<&'static str, u64>,
}

impl Trouble {
    pub(super) fn new(seed: u64, is_on: bool) -> Self {
        Trouble { random: ChaCha8Rng::seed_from_u64(seed), is_on, met: BTreeMap::new() }
    }

    /// Whether anything goes wrong.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether this goes wrong now.
    pub(super) fn strikes(&mut self, what: &'static str) -> bool {
        let chance = CHANCES.iter().find(|(name, _)| *name == what).map_or(0.0, |(_, chance)| *chance);
        let strikes = self.is_on && self.random.random_bool(chance);
        if strikes {
            *self.met.entry(what).or_default() += 1;
        }
        strikes
    }

    /// What begins within the next `time`, with the moment after now at which it does and how long it lasts.
    pub(super) fn spells(&mut self, time: Duration) -> Vec<(Spell, Duration, Duration)> {
        if !self.is_on {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for (spell, per_hour, (least, most)) in SPELLS {
            if self.random.random_bool((per_hour * time.as_secs_f64() / 3600.0).min(1.0)) {
                *self.met.entry(spell.name()).or_default() += 1;
                let (begins, lasts) = (self.between(0.0, time.as_secs_f64()), self.between(least, most));
                begun.push((spell, begins, lasts));
            }
        }
        begun
    }

    /// A time between two, in seconds.
    pub(super) fn between(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(self.number(least, most))
    }

    pub(super) fn millis(&mut self, least: f64, most: f64) -> Duration {
        self.between(least / 1e3, most / 1e3)
    }

    pub(super) fn number(&mut self, least: f64, most: f64) -> f64 {
        if most > least { self.random.random_range(least..most) } else { least }
    }

    pub(super) fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }
}
