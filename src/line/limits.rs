//! Whether so many rejects are likely.

use std::collections::VecDeque;

use super::Limits;

/// Counts the parts that did not pass.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    in_a_row: u32,
    /// Whether each of the last parts did not pass.
    last: VecDeque<bool>,
    bad_of_last: u32,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        Watch { limits, in_a_row: 0, last: VecDeque::new(), bad_of_last: 0 }
    }

    /// One more part; says what is too much about it. What was told is counted anew: the next alarm needs new rejects.
    pub(super) fn add(&mut self, is_bad: bool) -> Option<String> {
        self.in_a_row = if is_bad { self.in_a_row + 1 } else { 0 };
        if self.limits.in_a_row == Some(self.in_a_row) {
            self.in_a_row = 0;
            let many = self.limits.in_a_row.unwrap_or_default();
            return Some(format!("{many} parts in a row did not pass: look at the process, the light and the lens"));
        }
        let share = self.limits.share?;
        self.last.push_back(is_bad);
        self.bad_of_last += u32::from(is_bad);
        if self.last.len() > share.last as usize {
            self.bad_of_last -= u32::from(self.last.pop_front() == Some(true));
        }
        let is_full = self.last.len() == share.last as usize;
        if !is_full || f64::from(self.bad_of_last) <= share.of * f64::from(share.last) {
            return None;
        }
        let bad = std::mem::take(&mut self.bad_of_last);
        self.last.clear();
        Some(format!(
            "{bad} of the last {} parts did not pass: look at the process, the light and the lens",
            share.last
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Share;

    fn told(limits: Limits, parts: &[u8]) -> Vec<usize> {
        let mut watch = Watch::new(limits);
        parts.iter().enumerate().filter_map(|(k, bad)| watch.add(*bad == 1).map(|_| k)).collect()
    }

    #[test]
    fn a_row_is_told_when_it_is_complete_and_again_when_it_is_as_long_again() {
        let limits = Limits { in_a_row: Some(3), ..Limits::default() };
        assert_eq!(told(limits, &[1, 1, 0, 1, 1, 1, 1, 1, 1, 0]), [5, 8]);
    }

    #[test]
    fn a_share_is_told_when_it_is_exceeded() {
        let limits = Limits { share: Some(Share { of: 0.5, last: 4 }), ..Limits::default() };
        assert_eq!(told(limits, &[1, 1, 1]), [] as [usize; 0], "too few to tell");
        assert_eq!(told(limits, &[1, 0, 1, 0, 1, 1, 0, 0, 0]), [5]);
    }
}
