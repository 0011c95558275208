//! What a camera sent lately: one whose driver gives old pictures, one for ever or several in turn, shows nothing of the belt.

use std::collections::VecDeque;

/// The last pictures, each as all of its pixels in one number.
#[derive(Debug)]
pub(super) struct Lately {
    prints: VecDeque<u64>,
    kept: usize,
}

impl Lately {
    /// As many as a driver has buffers: it may give old ones in turn.
    const BUFFERS: usize = 32;

    /// Of a camera. A live one's noise never comes twice; files and drawings may be shown again, but not twice in a row.
    pub(super) fn of(is_live: bool) -> Self {
        let kept = if is_live { Self::BUFFERS } else { 1 };
        Lately { prints: VecDeque::with_capacity(kept), kept }
    }

    /// Whether that picture came lately; it has now.
    pub(super) fn came(&mut self, print: u64) -> bool {
        let came = self.prints.contains(&print);
        if self.prints.len() == self.kept {
            self.prints.pop_front();
        }
        self.prints.push_back(print);
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_gives_old_buffers_in_turn_is_found_out() {
        let mut lately = Lately::of(true);
        assert!((0..100).all(|print| !lately.came(print)), "a live camera");
        let mut found = |ring: u64| (0..100u64).filter(|k| lately.came(1000 * ring + k % ring)).count();
        assert_eq!([1, 2, 4, 8, 32].map(&mut found), [99, 98, 96, 92, 68]);
    }

    #[test]
    fn files_may_come_again_but_not_twice_in_a_row() {
        let mut lately = Lately::of(false);
        assert_eq!([7, 8, 7, 7, 8, 8].map(|print| lately.came(print)), [false, false, false, true, false, true]);
    }
}
