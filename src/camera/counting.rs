//! What a camera did since it was opened.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Camera, Flaw, Grab};
use crate::Result;

/// Counts of a camera's frames and faults; they only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CameraCounts {
    /// Frames that came, broken ones included.
    pub frames: u64,
    /// Frames that never came, by the gaps in their numbers: the driver had no room for them, the cable lost them, or
    /// nobody fetched them in time.
    pub lost: u64,
    /// Frames that the driver itself flagged as damaged.
    pub damaged: u64,
    /// Frames whose picture could not be read: cut off, or of another size.
    pub unreadable: u64,
    /// Frames whose time stamp could not be right.
    pub doubtful: u64,
    /// How often the camera failed: it was unplugged, fell silent, or its driver gave up.
    pub failures: u64,
}

impl fmt::Display for CameraCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames", self.frames)?;
        let faults = [
            (self.lost, "lost"),
            (self.damaged, "damaged"),
            (self.unreadable, "unreadable"),
            (self.doubtful, "with a wrong time"),
        ];
        for (count, what) in faults.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        if self.failures > 0 { write!(f, "; failed {}x", self.failures) } else { Ok(()) }
    }
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    lost: AtomicU64,
    damaged: AtomicU64,
    unreadable: AtomicU64,
    doubtful: AtomicU64,
    failures: AtomicU64,
}

/// Reads the counts while the camera's thread counts.
#[derive(Debug, Clone)]
pub struct CountsReader(Arc<Counters>);

impl CountsReader {
    /// The counts so far.
    pub fn read(&self) -> CameraCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CameraCounts {
            frames: of(&self.0.frames),
            lost: of(&self.0.lost),
            damaged: of(&self.0.damaged),
            unreadable: of(&self.0.unreadable),
            doubtful: of(&self.0.doubtful),
            failures: of(&self.0.failures),
        }
    }
}

/// A camera whose frames and faults are counted.
pub struct Counted {
    camera: Box<dyn Camera>,
    counters: Arc<Counters>,
    /// The number of the last frame.
    last: Option<u64>,
    /// Whether the last grab failed: a camera that stays away has failed once.
    is_failed: bool,
}

impl Counted {
    /// Counts what `camera` does from now on.
    pub fn new(camera: Box<dyn Camera>) -> Self {
        Counted { camera, counters: Arc::default(), last: None, is_failed: false }
    }

    /// Who reads the counts, from whatever thread.
    pub fn reader(&self) -> CountsReader {
        CountsReader(self.counters.clone())
    }

    fn frame(&mut self, number: u64) {
        let gap = self.last.replace(number).map_or(0, |last| number.saturating_sub(last + 1));
        add(&self.counters.lost, gap);
        add(&self.counters.frames, 1);
        self.is_failed = false;
    }
}

impl Camera for Counted {
    fn name(&self) -> &str {
        self.camera.name()
    }

    fn is_live(&self) -> bool {
        self.camera.is_live()
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        let grabbed = self.camera.grab(patience);
        match &grabbed {
            Ok(Grab::Frame(frame)) => self.frame(frame.number),
            Ok(Grab::Broken(broken)) => {
                self.frame(broken.number);
                let counter = match broken.flaw {
                    Flaw::Damaged => &self.counters.damaged,
                    Flaw::Unreadable => &self.counters.unreadable,
                    Flaw::Doubtful => &self.counters.doubtful,
                };
                add(counter, 1);
            }
            Ok(Grab::Timeout | Grab::End) => {}
            Err(_) => add(&self.counters.failures, u64::from(!std::mem::replace(&mut self.is_failed, true))),
        }
        grabbed
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::camera::{BrokenFrame, Frame, Remains};
    use crate::time::{Monotonic, StampSource};

    /// Says what it is told to, one thing per grab.
    struct Told(std::vec::IntoIter<Result<Grab>>);

    impl Camera for Told {
        fn name(&self) -> &str {
            "told"
        }

        fn is_live(&self) -> bool {
            true
        }

        fn grab(&mut self, _: Duration) -> Result<Grab> {
            self.0.next().unwrap_or(Ok(Grab::End))
        }
    }

    fn frame(number: u64) -> Result<Grab> {
        let (captured, stamp, origin) = (Monotonic::now(), StampSource::Received, String::new());
        Ok(Grab::Frame(Frame {
            number,
            captured,
            stamp,
            origin,
            product: None,
            image: image::RgbImage::new(1, 1),
            original: None,
        }))
    }

    fn broken(number: u64, flaw: Flaw) -> Result<Grab> {
        let (captured, stamp, origin, why) = (Monotonic::now(), StampSource::Received, String::new(), String::new());
        let remains = Remains::default();
        Ok(Grab::Broken(BrokenFrame { number, captured, stamp, origin, flaw, why, remains }))
    }

    #[test]
    fn every_frame_gap_flaw_and_failure_is_counted_once() {
        let unplugged = || Err(Error::device("unplugged"));
        let said = vec![
            frame(4),
            Ok(Grab::Timeout),
            frame(5),
            frame(8),
            broken(9, Flaw::Damaged),
            unplugged(),
            unplugged(),
            broken(11, Flaw::Doubtful),
            broken(12, Flaw::Unreadable),
            unplugged(),
        ];
        let mut camera = Counted::new(Box::new(Told(said.into_iter())));
        let counts = camera.reader();
        while !matches!(camera.grab(Duration::ZERO), Ok(Grab::End)) {}
        let expected = CameraCounts { frames: 6, lost: 3, damaged: 1, unreadable: 1, doubtful: 1, failures: 2 };
        assert_eq!(counts.read(), expected);
        let told = "6 frames, 3 lost, 1 damaged, 1 unreadable, 1 with a wrong time; failed 2x";
        assert_eq!(expected.to_string(), told);
        assert_eq!(CameraCounts { frames: 7, ..CameraCounts::default() }.to_string(), "7 frames");
    }
}
