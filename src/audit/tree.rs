//! The Merkle tree over an audit's lines (RFC 6962, section 2.1): one root stands for all of them.

use std::ops::Range;

use crate::digest::Digest;

/// A tree that grows leaf by leaf; it keeps the roots of its full subtrees only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    size: u64,
    /// The roots of the full subtrees, largest first: one for each bit that is set in `size`.
    peaks: Vec<Digest>,
}

impl Tree {
    /// The tree without leaves.
    pub(super) const EMPTY: Tree = Tree { size: 0, peaks: Vec::new() };

    /// A tree of `size` leaves with these peaks; `None` when such a tree has another number of them.
    pub(super) fn of(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() as u32 == size.count_ones()).then_some(Tree { size, peaks })
    }

    /// The roots of its full subtrees, largest first: with the size, all that is needed to go on.
    pub(super) fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What it holds of the leaves in `range`, which are those under a node on the way to a leaf behind all of its own, in a larger tree.
    pub(super) fn within(&self, range: &Range<u64>) -> Tree {
        let (mut within, mut end) = (Tree::EMPTY, 0);
        for peak in &self.peaks {
            // The largest comes first: one for each bit that is set.
            let size = 1 << (self.size - end).ilog2();
            end += size;
            if range.start <= end - size && end <= range.end {
                within.size += size;
                within.peaks.push(*peak);
            }
        }
        within
    }

    /// Adds an entry as the next leaf.
    pub(super) fn push(&mut self, entry: &[u8]) {
        self.push_leaf(leaf(entry));
    }

    pub(super) fn push_leaf(&mut self, leaf: Digest) {
        let merges = self.size.trailing_ones() as usize;
        let from = self.peaks.len() - merges;
        let root = self.peaks.drain(from..).rfold(leaf, |right, left| node(left, right));
        self.peaks.push(root);
        self.size += 1;
    }

    /// The root; of the empty tree, the digest of nothing.
    pub(super) fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else { return Digest::of([]) };
        peaks.fold(last, |right, left| node(left, right))
    }
}

/// The hash of an entry as a leaf.
pub(super) fn leaf(entry: &[u8]) -> Digest {
    Digest::of_pieces([&[0][..], entry])
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest::of_pieces([&[1][..], left.as_bytes(), right.as_bytes()])
}

/// The leaves under each node of the audit path of leaf `index` in a tree of `size` leaves, from the leaf to the root
/// (section 2.1.1). With their roots and the leaf, anybody can compute the tree's root.
pub(super) fn path(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    let mut within = 0..size;
    while within.end - within.start > 1 {
        let split = within.start + (within.end - within.start).next_power_of_two() / 2;
        let (left, right) = (within.start..split, split..within.end);
        let (other, inner) = if index < split { (right, left) } else { (left, right) };
        path.push(other);
        within = inner;
    }
    path.reverse();
    path
}

/// The root of a tree of `size` leaves in which `leaf` is number `index`, by its audit path; `None` when a path in such a
/// tree has another length.
pub(super) fn root_by(path_roots: &[Digest], leaf: Digest, index: u64, size: u64) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let ranges = path(index, size);
    (ranges.len() == path_roots.len()).then(|| {
        ranges.iter().zip(path_roots).fold(leaf, |root, (range, other)| match range.start > index {
            true => node(root, *other),
            false => node(*other, root),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves and roots of Certificate Transparency's own tests.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [(usize, &str); 5] = [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];

    fn tree(leaves: impl IntoIterator<Item = Digest>) -> Tree {
        let mut tree = Tree::EMPTY;
        leaves.into_iter().for_each(|leaf| tree.push_leaf(leaf));
        tree
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        for (size, root) in ROOTS {
            let tree = tree(LEAVES[..size].iter().map(|entry| leaf(entry)));
            assert_eq!((tree.size(), tree.root().to_string().as_str()), (size as u64, root));
        }
    }

    #[test]
    fn of_leaves_that_are_gone_the_peaks_are_enough_for_a_path_to_any_other() {
        let leaves = (0..70u8).map(|number| leaf(&[number])).collect::<Vec<_>>();
        for size in 1..=leaves.len() {
            let root = tree(leaves[..size].iter().copied()).root();
            for gone in 0..size {
                let before = tree(leaves[..gone].iter().copied());
                for index in gone..size {
                    let roots = path(index as u64, size as u64).into_iter().map(|range| {
                        let mut sibling = before.within(&range);
                        let here = range.start.max(gone as u64)..range.end.max(gone as u64);
                        here.for_each(|number| sibling.push_leaf(leaves[number as usize]));
                        assert_eq!(sibling.size(), range.end - range.start, "{range:?} without {gone} of {size}");
                        sibling.root()
                    });
                    let roots = roots.collect::<Vec<_>>();
                    let found = root_by(&roots, leaves[index], index as u64, size as u64);
                    assert_eq!(found, Some(root), "leaf {index} of {size} without the first {gone}");
                }
            }
        }
    }

    #[test]
    fn a_path_leads_from_any_leaf_to_the_root_and_from_no_other() {
        let leaves = (0..70u8).map(|number| leaf(&[number])).collect::<Vec<_>>();
        for size in 1..=leaves.len() {
            let root = tree(leaves[..size].iter().copied()).root();
            for index in 0..size {
                let ranges = path(index as u64, size as u64);
                let roots = ranges
                    .iter()
                    .map(|range| tree(leaves[range.start as usize..range.end as usize].iter().copied()).root())
                    .collect::<Vec<_>>();
                let found = |leaf, index: usize| root_by(&roots, leaf, index as u64, size as u64);
                assert_eq!(found(leaves[index], index), Some(root), "leaf {index} of {size}");
                assert_ne!(found(leaves[(index + 1) % 70], index), Some(root));
                assert_eq!(root_by(&roots, leaves[index], size as u64, size as u64), None);
                if size > 1 {
                    assert_ne!(found(leaves[index], (index + 1) % size), Some(root), "leaf {index} of {size}, moved");
                }
            }
        }
    }
}
