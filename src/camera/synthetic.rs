//! The synthetic conveyor's camera.

use std::time::Duration;

use super::pacing::Pacing;
use super::{Camera, Frame, Grab};
use crate::Result;
use crate::synthetic::Conveyor;
use crate::time::{Monotonic, StampSource};

/// Photographs the parts of a [`Conveyor`] one after the other.
#[derive(Debug)]
pub struct SyntheticCamera {
    conveyor: Conveyor,
    parts: Option<u64>,
    pacing: Pacing,
    /// The part that comes next.
    next: u64,
    /// The next part, rendered ahead of its time so that rendering does not delay it.
    waiting: Option<Frame>,
}

impl SyntheticCamera {
    /// A camera for the first `parts` parts of `conveyor` (`None`: without end), `rate` parts per second; `None` gives a
    /// part whenever one is asked for.
    pub fn new(conveyor: Conveyor, parts: Option<u64>, rate: Option<f64>) -> Self {
        SyntheticCamera { conveyor, parts, pacing: Pacing::new(rate), next: 0, waiting: None }
    }

    fn photograph(&self, number: u64) -> Frame {
        let part = self.conveyor.part(number);
        Frame {
            number,
            captured: Monotonic::default(),
            stamp: StampSource::Received,
            origin: format!("part-{number:05}"),
            product: Some(part.truth.product.name().to_owned()),
            image: part.image,
            original: None,
        }
    }
}

impl Camera for SyntheticCamera {
    fn name(&self) -> &str {
        "synthetic conveyor"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        if self.parts.is_some_and(|parts| self.next >= parts) {
            return Ok(Grab::End);
        }
        let mut frame = self.waiting.take().unwrap_or_else(|| self.photograph(self.next));
        let wait = self.pacing.left(Monotonic::now());
        if wait > patience {
            self.waiting = Some(frame);
            std::thread::sleep(patience);
            return Ok(Grab::Timeout);
        }
        std::thread::sleep(wait);
        // A part whose time has passed while nobody asked for it comes now.
        frame.captured = Monotonic::now();
        self.pacing.captured(frame.captured);
        self.next += 1;
        Ok(Grab::Frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVEYOR: Conveyor = Conveyor { seed: 2, defect_share: 0.2 };

    #[test]
    fn every_part_comes_once_and_then_the_end() {
        let mut camera = SyntheticCamera::new(CONVEYOR, Some(3), None);
        let mut numbers = Vec::new();
        while let Grab::Frame(frame) = camera.grab(Duration::ZERO).unwrap() {
            assert_eq!(frame.image, CONVEYOR.part(frame.number).image);
            assert_eq!(frame.product.as_deref(), Some(CONVEYOR.truth(frame.number).product.name()));
            numbers.push(frame.number);
        }
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn impatience_loses_no_part() {
        let hours = Some(1e-4);
        let mut camera = SyntheticCamera::new(CONVEYOR, Some(2), hours);
        assert!(matches!(camera.grab(Duration::ZERO).unwrap(), Grab::Frame(frame) if frame.number == 0));
        for _ in 0..3 {
            assert!(matches!(camera.grab(Duration::ZERO).unwrap(), Grab::Timeout));
        }
        // The hours are over.
        camera.pacing = Pacing::new(hours);
        assert!(matches!(camera.grab(Duration::ZERO).unwrap(), Grab::Frame(frame) if frame.number == 1));
        assert!(matches!(camera.grab(Duration::ZERO).unwrap(), Grab::End));
    }
}
