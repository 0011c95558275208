//! What is known of a picture without looking at it again: what records and the line core hold.

use serde::{Deserialize, Serialize};

/// A picture in five numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Mean luma (BT.601), 0 to 255.
    pub brightness: f32,
    /// Share of pixels with a luma of 250 or more.
    pub saturated: f32,
    /// Mean square of the luma's differences between neighbours, over the square of its mean. It does not change with the light,
    /// and falls when the picture loses its focus or a veil lies over it. What a defect adds to a part only makes it rise.
    pub sharpness: f32,
    /// Red's share of the sum of all channels, 1/3 for grey.
    pub red: f32,
    /// Blue's share.
    pub blue: f32,
}
