//! Parts told apart without knowing how the belt moves.

use super::gate::{Gate, Segment};
use crate::camera::Frame;

/// Takes each part's picture once, in the frame in which it has just passed the middle of the gate: there a run inspects it.
#[derive(Debug, Default)]
pub struct Passing {
    /// The middle of the part that is next beyond that of the gate, in pixels.
    nearest: Option<u32>,
}

impl Passing {
    /// The picture of the part that has passed the middle since the frame before, if one has.
    ///
    /// # Errors
    ///
    /// As [`Gate::look`].
    pub fn take(&mut self, gate: &mut Gate, frame: &Frame) -> Result<Option<Frame>, String> {
        let (half, slack) = (gate.length() / 2, gate.shortest());
        let middle = |segment: &Segment| (segment.from + segment.to) / 2;
        let beyond = gate.parts(frame)?.into_iter().filter(|(segment, _)| middle(segment) >= half);
        let nearest = beyond.min_by_key(|(segment, _)| middle(segment));
        let now = nearest.as_ref().map(|(segment, _)| middle(segment));
        // Those that had passed go on: one that is nearer than they were is another one.
        let before = std::mem::replace(&mut self.nearest, now);
        let is_new = now.is_some_and(|now| before.is_none_or(|before| now + slack < before));
        Ok(nearest.and_then(|(_, picture)| picture.filter(|_| is_new)))
    }
}
