//! Whether the log's disk gets full.

use std::time::{Duration, Instant};

use super::record::Body;
use super::tail::Tail;
use crate::time::Monotonic;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Less room than this is little: some days of records, or some hundred pictures.
const LITTLE: u64 = 256 << 20;
/// There is enough again when there is so much more.
const MORE: u64 = 64 << 20;

/// What is known of the disk's room.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    looked: Option<Instant>,
    is_low: bool,
}

impl Pressure {
    /// Looks, if it is time to; a record when there is little room now, or enough again.
    pub(super) fn look(&mut self, tail: &Tail) -> Option<Body> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return None;
        }
        self.looked = Some(Instant::now());
        let free = tail.free()?;
        self.news(free).then(|| Body::disk_pressure(Monotonic::now(), self.is_low, free))
    }

    fn news(&mut self, free: u64) -> bool {
        let is_low = free < if self.is_low { LITTLE + MORE } else { LITTLE };
        std::mem::replace(&mut self.is_low, is_low) != is_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_at_the_limit_is_told_of_once() {
        let mut pressure = Pressure::default();
        let free = [LITTLE, LITTLE - 1, LITTLE + 1, LITTLE - 1, LITTLE + MORE, LITTLE];
        assert_eq!(free.map(|free| pressure.news(free)), [false, true, false, false, true, false]);
    }
}
