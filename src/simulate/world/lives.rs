//! How a core ends, and how another begins: a belt goes on under both.

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::{Drive, Event, Happening, Lane, LineCore};
use crate::simulate::lines::gate;
use crate::simulate::network::Network;
use crate::simulate::promises::Promises;
use crate::simulate::valve::Valve;
use crate::time::Monotonic;

use super::layout::{free_run, give_way};
use super::{TOLD, World};

impl World {
    /// The core ends in good order.
    pub(super) fn halt(&mut self) -> Result<(), String> {
        self.tell(Event { at: self.now, what: Happening::Halt })?;
        self.promises.ended(self.core.is_idle())?;
        self.records.forget_old(self.now - TOLD)?;
        self.hold_records(self.now - TOLD)?;
        self.end_life(Duration::from_secs(10));
        Ok(())
    }

    /// No core is left; a person clears the belt, and another begins after `pause`.
    pub(super) fn end_life(&mut self, pause: Duration) {
        self.close_valves();
        self.life += 1;
        self.is_armed = false;
        self.ended = self.now;
        self.begins_again = Some(self.now + pause);
    }

    pub(super) fn begin_again(&mut self) -> Result<(), String> {
        self.begins_again = None;
        self.report.restarts += 1;
        self.report.counters.add(self.core.counters());
        self.core = LineCore::new(self.plan.rules.clone());
        self.promises = Promises::new(&self.plan.rules);
        self.network = Network::new(give_way(&self.plan.rules.lanes), self.plan.pace.inspection_ms);
        self.valves = self.plan.rules.lanes.iter().map(|lane| Valve::new(lane.ejector)).collect();
        self.heard.iter_mut().for_each(VecDeque::clear);
        // Edges are told late; what comes from now on, this core is told of.
        let (now, life) = (self.now, self.life);
        self.truths.retain(|_, truth| truth.life == life && truth.seen >= now);
        self.by_edge = self.by_edge.split_off(&(now - TOLD, Lane::default()));
        self.frames_told = None;
        self.last_blocked.fill(None);
        let place = self.place();
        for gate in &mut self.in_gate {
            // Frames that show them are on their way still; in those that follow they are gone.
            for piece in gate.extract_if(.., |piece| piece.lead <= place) {
                if let Some(run) = free_run(&self.plan.rules.lanes[piece.lane.0]) {
                    self.records.disturb(piece.lane, piece.lead + piece.length, &run);
                }
            }
        }
        self.lain.retain(|_, (_, piece)| piece.lead > place);
        // What frames that are on their way show lies in the gate at most.
        let in_gate = |lane: &Lane| free_run(&self.plan.rules.lanes[lane.0]).map(|run| gate(&run)).unwrap_or_default();
        self.mirages.retain(|(_, lane, _, trail)| *trail + in_gate(lane) > place);
        self.forget_pieces();
        // Where the belt was before, an encoder does not tell.
        self.records.begin_again(if self.plan.rules.drive == Drive::Encoder { self.now } else { Monotonic::default() });
        self.belt.clear(self.now);
        self.is_armed = true;
        self.tell_place()?;
        if std::mem::take(&mut self.is_interrupted) {
            self.tell(Event { at: self.now, what: Happening::Interrupted("it was killed".into()) })?;
        }
        self.tell_blocked_eyes();
        self.tell_what_fails()
    }

    /// What is known of pieces that nobody asks about any more. Of the others it stays when a new core begins: what frames show until the
    /// stretch ends was noted when it began.
    pub(super) fn forget_pieces(&mut self) {
        let truths = &self.truths;
        self.touched.retain(|number| truths.contains_key(number));
        self.too_long.retain(|number| truths.contains_key(number));
        self.said_bad.retain(|number| truths.contains_key(number));
        self.looks.retain(|number, _| truths.contains_key(number));
        self.slid.retain(|number, _| truths.contains_key(number));
        self.changed.retain(|number| truths.contains_key(number));
    }

    /// An encoder tells where it is when it is opened.
    pub(super) fn tell_place(&mut self) -> Result<(), String> {
        if self.plan.rules.drive != Drive::Encoder {
            return Ok(());
        }
        let what = Happening::Moved(self.counted);
        self.tell(Event { at: self.now, what })
    }
}
