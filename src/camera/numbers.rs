//! Frames' numbers: one rising count through gaps and restarts.

/// Makes one rising count of a stream's, which is 32 bits wide and starts again with every stream.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: Option<u64>,
    last_sequence: Option<u32>,
}

impl Numbers {
    /// Another stream begins; how many frames were lost before it is not known.
    pub(super) fn restart(&mut self) {
        self.last_sequence = None;
    }

    /// The number of the frame that the stream counts as `sequence`.
    pub(super) fn next(&mut self, sequence: u32) -> u64 {
        let step = match self.last_sequence {
            // Half of the range or more is a step back; no step at all is a driver that does not count.
            Some(last) => match sequence.wrapping_sub(last) {
                step @ 1..0x8000_0000 => u64::from(step),
                _ => 1,
            },
            None => 1,
        };
        self.last_sequence = Some(sequence);
        *self.last.insert(self.last.map_or(0, |last| last + step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(sequences: &[u32]) -> Vec<u64> {
        let mut numbers = Numbers::default();
        sequences.iter().map(|sequence| numbers.next(*sequence)).collect()
    }

    #[test]
    fn numbers_show_the_gaps_of_the_driver_and_rise_always() {
        let cases: [(&str, &[u32], &[u64]); 5] = [
            ("in order", &[0, 1, 2], &[0, 1, 2]),
            ("two frames lost", &[0, 3, 4], &[0, 3, 4]),
            ("a stream that starts late", &[7, 8, 10], &[0, 1, 3]),
            ("the driver's count wraps", &[u32::MAX - 1, u32::MAX, 0, 2], &[0, 1, 2, 4]),
            ("a driver that does not count", &[0, 0, 0], &[0, 1, 2]),
        ];
        for (what, sequences, expected) in cases {
            assert_eq!(numbered(sequences), expected, "{what}");
        }
    }

    #[test]
    fn numbers_go_on_when_a_stream_starts_anew() {
        let mut numbers = Numbers::default();
        assert_eq!([5, 6].map(|sequence| numbers.next(sequence)), [0, 1]);
        numbers.restart();
        assert_eq!([0, 2].map(|sequence| numbers.next(sequence)), [2, 4]);
    }
}
