//! What does not work for a while, and who is told of it.

use std::time::Duration;

use crate::line::{Device, Drive, Event, Happening, Lane};
use crate::simulate::trouble::Spell;
use crate::time::Monotonic;

use super::World;
use super::due::What;

impl World {
    /// A busy machine hears of nothing until it is over.
    pub(super) fn after_stall(&self, at: Monotonic) -> Monotonic {
        let stall = |(spell, from, until): &(Spell, Monotonic, Monotonic)| {
            (*spell == Spell::Stall && *from <= at && at < *until).then_some(*until)
        };
        self.spells.iter().find_map(stall).unwrap_or(at)
    }

    pub(super) fn is(&self, spell: Spell, at: Monotonic) -> bool {
        self.spells.iter().any(|(other, from, until)| *other == spell && *from <= at && at < *until)
    }

    /// Whether a spell that befalls one lane has befallen this one.
    pub(super) fn is_in(&self, spell: Spell, lane: Lane, at: Monotonic) -> bool {
        let mut spells = self.spells.iter().filter(|(_, from, _)| self.befallen(*from) == lane);
        spells.any(|(other, from, until)| *other == spell && *from <= at && at < *until)
    }

    /// The lane that a spell befalls, if it befalls one alone.
    pub(super) fn befallen(&self, from: Monotonic) -> Lane {
        Lane((from.as_nanos() / 1000 % self.valves.len() as u64) as usize)
    }

    pub(super) fn begin_spell(&mut self, spell: Spell, from: Monotonic, until: Monotonic) {
        if spell == Spell::Killed {
            return self.push(from, What::Kill);
        }
        if let Some((begins, ends)) = self.told_at_its_ends(spell, from) {
            self.tell_all([(from, begins), (until, ends)]);
        }
    }

    /// What is told when a spell that is told of begins, and when it ends.
    fn told_at_its_ends(&self, spell: Spell, from: Monotonic) -> Option<(Happening, Happening)> {
        let device = match spell {
            Spell::CameraLost => Device::Camera,
            Spell::EncoderLost if self.plan.rules.drive == Drive::Encoder => Device::Encoder,
            Spell::OutputLost => Device::Output(self.plan.rules.own(self.befallen(from))),
            Spell::BinFull => return Some((Happening::Bin(true), Happening::Bin(false))),
            _ => return None,
        };
        Some((Happening::Fault(device, "gone".into()), Happening::Recovered(device)))
    }

    /// As in a run, a new core is told of what does not work when it begins.
    pub(super) fn tell_what_fails(&mut self) -> Result<(), String> {
        let now = self.now;
        let lasts = |(_, from, until): &&(Spell, Monotonic, Monotonic)| *from < now && now < *until;
        let lasting = self.spells.iter().filter(lasts);
        let begun = lasting.filter_map(|(spell, from, _)| Some(self.told_at_its_ends(*spell, *from)?.0));
        for what in begun.collect::<Vec<_>>() {
            self.tell(Event { at: now, what })?;
        }
        Ok(())
    }

    /// Whether the encoder missed some of the belt since.
    pub(super) fn slipped(&self, since: Monotonic) -> bool {
        self.has_slipped(since, Monotonic::from_nanos(u64::MAX))
    }

    /// Whether it did so in between.
    pub(super) fn has_slipped(&self, since: Monotonic, until: Monotonic) -> bool {
        let misses = |spell: Spell| [Spell::EncoderStuck, Spell::EncoderLost].contains(&spell);
        let is_measured = self.plan.rules.drive == Drive::Encoder;
        is_measured && self.spells.iter().any(|(spell, from, to)| misses(*spell) && *from <= until && *to > since)
    }

    /// What did not work within the last `time`.
    pub(super) fn lately(&self, time: Duration) -> Vec<String> {
        let begun = self.spells.iter().filter(|(_, from, until)| *from <= self.now && *until + time >= self.now);
        begun.map(|(spell, from, until)| format!("{} from {from} to {until}", spell.name())).collect()
    }
}
