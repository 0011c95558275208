//! The synthetic conveyor's camera.

use std::time::Duration;

use super::{Camera, Frame, Grab, StampSource};
use crate::Result;
use crate::synthetic::Conveyor;
use crate::time::Monotonic;

/// Photographs the parts of a [`Conveyor`] one after the other.
#[derive(Debug)]
pub struct SyntheticCamera {
    conveyor: Conveyor,
    parts: Option<u64>,
    /// From part to part; zero gives a part whenever one is asked for.
    interval: Duration,
    /// The part that comes next.
    next: u64,
    due: Option<Monotonic>,
    /// The next part, rendered ahead of its time so that rendering does not delay it.
    waiting: Option<Frame>,
}

impl SyntheticCamera {
    /// A camera for the first `parts` parts of `conveyor` (`None`: without end), `rate` parts per second; `None` gives a
    /// part whenever one is asked for.
    pub fn new(conveyor: Conveyor, parts: Option<u64>, rate: Option<f64>) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        SyntheticCamera { conveyor, parts, interval, next: 0, due: None, waiting: None }
    }

    fn photograph(&self, number: u64) -> Frame {
        let part = self.conveyor.part(number);
        Frame {
            number,
            captured: Monotonic::default(),
            stamp: StampSource::EndOfFrame,
            origin: format!("part-{number:05}"),
            product: Some(part.truth.product.name().to_owned()),
            image: part.image,
        }
    }
}

impl Camera for SyntheticCamera {
    fn name(&self) -> &str {
        "synthetic conveyor"
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        if self.parts.is_some_and(|parts| self.next >= parts) {
            return Ok(Grab::End);
        }
        let mut frame = self.waiting.take().unwrap_or_else(|| self.photograph(self.next));
        let now = Monotonic::now();
        let wait = self.due.map_or(Duration::ZERO, |due| due.saturating_since(now));
        if wait > patience {
            self.waiting = Some(frame);
            std::thread::sleep(patience);
            return Ok(Grab::Timeout);
        }
        std::thread::sleep(wait);
        // A part whose time has passed while nobody asked for it comes now: the belt waits, so that none is lost.
        frame.captured = Monotonic::now();
        self.due = Some(self.due.map_or(frame.captured, |due| due.max(frame.captured - self.interval)) + self.interval);
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
    fn parts_keep_their_distance_and_impatience_loses_none() {
        let mut camera = SyntheticCamera::new(CONVEYOR, Some(2), Some(1.0));
        let (mut captured, mut timeouts) = (Vec::new(), 0);
        loop {
            match camera.grab(Duration::from_millis(5)).unwrap() {
                Grab::Frame(frame) => captured.push(frame.captured),
                Grab::Timeout => timeouts += 1,
                Grab::Broken(broken) => panic!("a rendered part cannot be broken: {broken:?}"),
                Grab::End => break,
            }
        }
        assert_eq!(captured.len(), 2);
        assert!(timeouts > 0);
        assert!(captured[1].millis_since(captured[0]) >= 1000.0);
    }
}
