//! The separate defects of a mask.

use ndarray::Array2;

/// The connected regions of a mask; pixels that touch at an edge or a corner belong together, as in the evaluation of MVTec AD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// `(H, W)`: 0 outside the mask, and the region's number from 1.
    pub labels: Array2<u32>,
    /// How many pixels each region has.
    pub sizes: Vec<u32>,
}

impl Regions {
    /// The regions of `mask`, in the order of their first pixels.
    pub fn of(mask: &Array2<bool>) -> Self {
        let mut regions = Regions { labels: Array2::zeros(mask.dim()), sizes: Vec::new() };
        for (first, _) in mask.indexed_iter().filter(|(_, defect)| **defect) {
            if regions.labels[first] == 0 {
                regions.flood(mask, first);
            }
        }
        regions
    }

    fn flood(&mut self, mask: &Array2<bool>, first: (usize, usize)) {
        let (height, width) = mask.dim();
        let label = self.sizes.len() as u32 + 1;
        let (mut size, mut open) = (0, vec![first]);
        self.labels[first] = label;
        while let Some((y, x)) = open.pop() {
            size += 1;
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    let near = (row, column);
                    if mask[near] && self.labels[near] == 0 {
                        self.labels[near] = label;
                        open.push(near);
                    }
                }
            }
        }
        self.sizes.push(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_connect_and_gaps_part() {
        let picture = ["##..#", "..#..", ".....", "#...#", "##..#"];
        let mask = Array2::from_shape_fn((5, 5), |(y, x)| picture[y].as_bytes()[x] == b'#');
        let regions = Regions::of(&mask);
        assert_eq!(regions.sizes, [3, 1, 3, 2], "{}", regions.labels);
        assert_eq!(regions.labels.row(0).to_vec(), [1, 1, 0, 0, 2]);
        assert_eq!(regions.labels.row(4).to_vec(), [3, 3, 0, 0, 4]);
        assert!(Regions::of(&Array2::from_elem((3, 2), false)).sizes.is_empty());
        assert_eq!(Regions::of(&Array2::from_elem((300, 200), true)).sizes, [60_000]);
    }
}
