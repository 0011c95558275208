//! What is learned of one level, generic over what stands in each parameter's place: a tensor, its gradient, its
//! optimizer state. One fixed order and one name per parameter serve the optimizer and the checkpoints.

use super::initial::FlowShape;

/// The learned part of one flow block (see [`BlockWeights`](super::BlockWeights) for the mathematics).
///
/// Matrices are kept in the pieces in which the forward pass uses them, so that it neither slices nor concatenates.
/// `D1 = D - D / 2`, `D2 = D / 2`, `C` the position code's width, `H` the hidden width, `S` the positions that a layer sees: 1, or 3x3
/// row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockParameters<T> {
    /// `(S * D1, H)`: the first layer's part for the features that pass unchanged.
    pub w1_features: T,
    /// `(C / 2, H)` each: its parts for the position's column and for its row, where it is told the position.
    pub w1_code: Option<[T; 2]>,
    /// `(1, H)`
    pub b1: T,
    /// `(S * H, D2)`: the second layer's part for the log-scales.
    pub w2_scale: T,
    /// `(1, D2)`
    pub b2_scale: T,
    /// `(S * H, D2)`: the second layer's part for the shifts.
    pub w2_shift: T,
    /// `(1, D2)`
    pub b2_shift: T,
    /// `(1, D1)`: the global affine's scale, before the softplus, of the channels that pass unchanged.
    pub gain1: T,
    /// `(1, D2)`: the same of the channels that are transformed.
    pub gain2: T,
    /// `(1, D1)`: the global affine's offset of the channels that pass unchanged.
    pub offset1: T,
    /// `(1, D2)`: the same of the channels that are transformed.
    pub offset2: T,
}

/// The learned part of one level's mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureParameters<T> {
    /// Main centers `(Y, D)`.
    pub mu: T,
    /// Offsets of the intra-class centers 2..M from the main one `(Y, (M - 1) * D)`.
    pub dmu: T,
    /// Logits of the class weights `(1, Y)`.
    pub psi: T,
    /// Logits of the intra-class weights `(Y, M)`.
    pub psi_in: T,
}

/// All that is learned of one level.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelParameters<T> {
    /// The flow's blocks in forward order.
    pub blocks: Vec<BlockParameters<T>>,
    /// The mixture.
    pub mixture: MixtureParameters<T>,
}

impl<T> BlockParameters<T> {
    /// The parameters' names, in the order of [`LevelParameters::into_parts`], of a block that is told the position if it is `coded`.
    fn names(coded: bool) -> impl Iterator<Item = &'static str> {
        let code: &[&str] = if coded { &["w1_columns", "w1_rows"] } else { &[] };
        let others = ["b1", "w2_scale", "b2_scale", "w2_shift", "b2_shift", "gain1", "gain2", "offset1", "offset2"];
        std::iter::once("w1_features").chain(code.iter().copied()).chain(others)
    }

    fn into_parts(self) -> impl Iterator<Item = T> {
        let others = [
            self.b1,
            self.w2_scale,
            self.b2_scale,
            self.w2_shift,
            self.b2_shift,
            self.gain1,
            self.gain2,
            self.offset1,
            self.offset2,
        ];
        std::iter::once(self.w1_features).chain(self.w1_code.into_iter().flatten()).chain(others)
    }

    fn from_parts(coded: bool, mut part: impl FnMut() -> T) -> Self {
        BlockParameters {
            w1_features: part(),
            w1_code: coded.then(|| [part(), part()]),
            b1: part(),
            w2_scale: part(),
            b2_scale: part(),
            w2_shift: part(),
            b2_shift: part(),
            gain1: part(),
            gain2: part(),
            offset1: part(),
            offset2: part(),
        }
    }
}

impl<T> MixtureParameters<T> {
    /// The parameters' names, in the order of [`LevelParameters::into_parts`].
    pub const NAMES: [&str; 4] = ["mu", "dmu", "psi", "psi_in"];
}

impl<T> LevelParameters<T> {
    /// Every parameter in the fixed order: block by block, then the mixture.
    pub fn into_parts(self) -> Vec<T> {
        let MixtureParameters { mu, dmu, psi, psi_in } = self.mixture;
        self.blocks.into_iter().flat_map(BlockParameters::into_parts).chain([mu, dmu, psi, psi_in]).collect()
    }

    /// Puts together what [`LevelParameters::into_parts`] took apart, for a flow of this shape.
    ///
    /// # Panics
    ///
    /// There are fewer parts than a level has.
    pub fn from_parts(shape: &FlowShape, parts: impl IntoIterator<Item = T>) -> Self {
        Self::assemble(shape.blocks, shape.code > 0, parts)
    }

    fn assemble(blocks: usize, coded: bool, parts: impl IntoIterator<Item = T>) -> Self {
        let mut parts = parts.into_iter();
        let mut part = || parts.next().expect("one part per parameter");
        let blocks = (0..blocks).map(|_| BlockParameters::from_parts(coded, &mut part)).collect();
        let mixture = MixtureParameters { mu: part(), dmu: part(), psi: part(), psi_in: part() };
        LevelParameters { blocks, mixture }
    }

    /// The name of every parameter, in the order of [`LevelParameters::into_parts`].
    pub fn names(shape: &FlowShape) -> Vec<String> {
        let of_block = |k| BlockParameters::<T>::names(shape.code > 0).map(move |name| format!("block.{k}.{name}"));
        let mixture = MixtureParameters::<T>::NAMES.map(|name| format!("mixture.{name}"));
        (0..shape.blocks).flat_map(of_block).chain(mixture).collect()
    }

    /// The same level with every parameter replaced by what `f` makes of it.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> LevelParameters<U> {
        let (blocks, coded) = (self.blocks.len(), self.blocks.iter().any(|block| block.w1_code.is_some()));
        LevelParameters::assemble(blocks, coded, self.into_parts().into_iter().map(f))
    }
}

impl<T> BlockParameters<T> {
    /// The same block with every parameter replaced by what `f` makes of it.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> BlockParameters<U> {
        let coded = self.w1_code.is_some();
        let mut parts = self.into_parts().map(f);
        BlockParameters::from_parts(coded, || parts.next().expect("both have the same parameters"))
    }
}
