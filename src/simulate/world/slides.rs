//! Pieces that do not stay where they lie, and what the frames show of it.

use crate::line::{FreeRun, Lane, Length};
use crate::simulate::belt::Piece;
use crate::simulate::lines::gate;
use crate::time::Monotonic;

use super::layout::free_run;
use super::senses::Shown;
use super::{STEP, World};

/// A piece slides by so much of the longest part at most, once while it is in the gate.
const SLIDES: f64 = 0.7;
/// One that turns is so much longer or shorter along the belt then, at most.
const TURNS: f64 = 0.4;
/// It does so before it has come so far through the gate: frames are to show it.
const UNTIL: f64 = 0.6;

/// Where the edges of a piece were seen, or of what it is one with: first and last.
#[derive(Debug, Default)]
pub(super) struct Looks {
    lead: Option<(Length, Length)>,
    trail: Option<(Length, Length)>,
}

impl Looks {
    /// Takes what a frame shows of it; says by how much that differs from what frames before showed.
    fn take(&mut self, lead: Option<Length>, trail: Option<Length>) -> Length {
        let moved = |edge: &mut Option<(Length, Length)>, seen: Option<Length>| {
            let Some(seen) = seen else { return Length::default() };
            let (first, last) = edge.map_or((seen, seen), |known| known);
            *edge = Some((first, seen));
            let apart = |other: Length| (other - seen).max(seen - other);
            apart(first).max(apart(last))
        };
        moved(&mut self.lead, lead).max(moved(&mut self.trail, trail))
    }
}

/// What moves by more, frames show to move: the encoder is coarse, and so is what the core knows of the belt.
pub(super) fn visible(run: &FreeRun) -> Length {
    run.window + Length::from_nm(2 * STEP) + Length::from_mm(2.0)
}

/// What reaches farther into the gate, a frame shows to be there, wherever in the window it may lie: of that, less than the shortest part is
/// not seen.
fn surely_shown(run: &FreeRun) -> Length {
    visible(run) + run.shortest
}

impl World {
    /// A piece in a gate slides, against its neighbour at most, or turns.
    pub(super) fn slide(&mut self, captured: Monotonic) {
        for lane in (0..self.valves.len()).map(Lane) {
            let Some(run) = free_run(&self.plan.rules.lanes[lane.0]) else { continue };
            let belt = self.belt.now.position(captured);
            let most = Length::from_nm((gate(&run).as_nm() as f64 * UNTIL) as i64);
            let is_free = |piece: &&Piece| {
                belt > piece.lead && belt - piece.lead < most && !self.slid.contains_key(&piece.number)
            };
            let free = self.in_gate[lane.0].iter().filter(is_free).cloned().collect::<Vec<_>>();
            if free.is_empty() {
                continue;
            }
            let piece = &free[self.trouble.number(0.0, free.len() as f64) as usize];
            if self.trouble.strikes("sliding part") {
                let by = run.longest.as_mm() * self.trouble.number(-SLIDES, SLIDES);
                self.shift(piece, &run, piece.lead + Length::from_mm(by), piece.length, belt);
            } else if self.trouble.strikes("turned part") {
                let length = piece.length.as_mm() * (1.0 + self.trouble.number(-TURNS, TURNS));
                let length = Length::from_mm(length.clamp(2.0 * run.shortest.as_mm(), run.longest.as_mm()));
                let lead = piece.lead + Length::from_nm((piece.length - length).as_nm() / 2);
                self.shift(piece, &run, lead, length, belt);
            }
        }
    }

    fn shift(&mut self, piece: &Piece, run: &FreeRun, lead: Length, length: Length, belt: Length) {
        let Some(shifted) = self.belt.shift(piece, lead, length, belt) else { return };
        let until = piece.lead + piece.length;
        self.records.disturb(piece.lane, until.max(shifted.lead + shifted.length), run);
        self.mirages.push((self.belt.now.begins, piece.lane, piece.lead, until));
        self.lain.entry((piece.lane, piece.number)).and_modify(|(_, lies)| *lies = shifted.clone());
        let by = shifted.lead - piece.lead;
        self.slid.insert(piece.number, by.max(Length::default() - by));
        let in_gate = self.in_gate[piece.lane.0].iter_mut().find(|other| other.number == piece.number);
        in_gate.into_iter().for_each(|piece| *piece = shifted.clone());
        // Where it lies now, the frame before need not have shown it: it comes anew, and is judged by the frames that follow.
        let before = self.belt.position(self.records.last(piece.lane)).unwrap_or(belt);
        if before - shifted.lead <= surely_shown(run) {
            self.looks.remove(&piece.number);
            self.too_long.remove(&piece.number);
            self.changed.remove(&piece.number);
            self.slid.insert(piece.number, Length::default());
        }
    }

    /// Takes note of what a frame shows of the pieces that it shows as one: its edges, where it shows them. Of a piece near a border of the
    /// gate of which no more than the window is in view, frames cannot show that it is there, nor that it is not; nor where one that is no
    /// longer than the window has become one with another, whose edges are believed to be where they were to so much.
    pub(super) fn show(&mut self, pieces: &[Shown], run: &FreeRun, lead: Option<Length>, trail: Option<Length>) {
        let visible = visible(run);
        let is_alone = pieces.len() == 1;
        for Shown { number, .. } in pieces.iter().filter(|shown| shown.is_long || (is_alone && shown.is_inside)) {
            if self.looks.entry(*number).or_default().take(lead, trail) > visible {
                self.changed.insert(*number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Drive, Rules};
    use crate::simulate::{Plan, drawn};

    /// Whether a piece that changed is still held for one that did when it slid to where the frame before shows so much of the belt before it.
    fn is_changed_after(way: impl Fn(&FreeRun) -> Length) -> bool {
        let is_meant = |(rules, _): &(Rules, u64)| {
            matches!(rules.drive, Drive::Constant(_)) && free_run(&rules.lanes[0]).is_some()
        };
        let (rules, speed) = (0..).map(drawn).find(is_meant).unwrap();
        let run = free_run(&rules.lanes[0]).unwrap();
        let mut world = World::remembering(&Plan { with_faults: false, ..Plan::new(rules, speed, 0) });
        while world.in_gate[0].is_empty() {
            world.step().unwrap();
        }
        let piece = world.in_gate[0][0].clone();
        let (belt, frame) = (piece.lead + gate(&run), world.belt.now.when(piece.lead + gate(&run)).unwrap());
        world.records.add((frame, piece.lane), belt, Vec::new());
        world.changed.insert(piece.number);
        world.shift(&piece, &run, belt - way(&run), piece.length, belt);
        assert!(world.slid.contains_key(&piece.number), "it was not moved");
        world.changed.contains(&piece.number)
    }

    #[test]
    fn a_piece_that_slid_to_where_the_frame_before_need_not_have_shown_it_comes_anew() {
        let more = Length::from_mm(0.1);
        assert!(!is_changed_after(visible));
        assert!(!is_changed_after(|run| visible(run) + run.shortest - more));
        assert!(is_changed_after(|run| visible(run) + run.shortest + more));
    }
}
