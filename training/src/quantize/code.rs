//! 8-bit codes of activations, as `QuantizeLinear` and `DequantizeLinear` define them.

/// An unsigned 8-bit code with one scale for a whole tensor: `value = (code - zero) * scale`.
///
/// Unsigned, since most activations are never negative and then use all 256 codes, and since processors multiply unsigned
/// activations by signed weights (AVX2, VNNI, i8mm); where they want both signed (NEON's dot product), a code and its zero
/// point change by 128 and nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// The distance of two codes' values.
    pub scale: f32,
    /// The code of 0, which every code has exactly: convolutions pad with it.
    pub zero: u8,
}

impl Code {
    /// The code whose values span `low..high` and 0.
    pub fn of_range(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !scale.is_normal() {
            // Nothing but zeros: any scale will do.
            return Code { scale: 1.0, zero: 0 };
        }
        Code { scale, zero: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }

    /// The code of `value` less that of 0: a whole number, -255 to 255.
    ///
    /// `QuantizeLinear` rounds halves to the even neighbour, and saturates.
    pub fn level(self, value: f32) -> f32 {
        let zero = f32::from(self.zero);
        ((value / self.scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero
    }

    /// The value that stands for `value`.
    pub fn rounded(self, value: f32) -> f32 {
        self.level(value) * self.scale
    }

    /// The least and the largest value that it has.
    pub fn range(self) -> (f32, f32) {
        (-f32::from(self.zero) * self.scale, f32::from(255 - self.zero) * self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour_and_what_is_outside_to_the_edge() {
        let code = Code { scale: 0.5, zero: 10 };
        let cases = [
            (0.0, 0.0),
            (0.25, 0.0),
            (0.75, 2.0),
            (1.25, 2.0),
            (-0.25, 0.0),
            (-0.75, -2.0),
            (-100.0, -10.0),
            (1e30, 245.0),
            (0.26, 1.0),
        ];
        for (value, level) in cases {
            assert_eq!(code.level(value), level, "{value}");
        }
    }

    #[test]
    fn zero_is_exact_and_every_value_within_the_range_is_half_a_step_away_at_most() {
        for (low, high) in [(0.0, 6.0), (-1.0, 1.0), (-3.0, 0.0), (-0.3, 7.0), (2.0, 5.0)] {
            let code = Code::of_range(low, high);
            assert_eq!(code.rounded(0.0), 0.0);
            let (least, most) = code.range();
            assert!((least - low.min(0.0)).abs() <= 0.5001 * code.scale && (most - high).abs() <= 0.5001 * code.scale);
            for i in 0..=1000 {
                let value = least + (most - least) * i as f32 / 1000.0;
                assert!((code.rounded(value) - value).abs() <= 0.5001 * code.scale, "{value} in {low}..{high}");
            }
        }
        assert_eq!(Code::of_range(0.0, 0.0), Code { scale: 1.0, zero: 0 });
    }
}
