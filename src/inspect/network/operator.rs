//! One operator of tract's graph for all layers that our kernels compute.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use hgad_kernels::{Scratch, Tier};
use tract_onnx::tract_core::internal::*;

use super::team::share;

thread_local! {
    /// The kernels' working memory, which all networks of a thread share.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// What operators are made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// The kernels' instructions.
    pub(super) tier: Tier,
    /// How many threads share a frame.
    pub(super) threads: usize,
    /// What a thread takes of a layer has at least so many multiply-adds.
    pub(super) least_part: usize,
}

impl Machine {
    /// With kernels of `tier` and `threads` that share a frame.
    pub(super) fn new(tier: Tier, threads: usize) -> Self {
        // With less to do, threads wait for each other longer than they compute.
        Machine { tier, threads, least_part: 1 << 18 }
    }

    /// A layer's channels `0..channels` in as many parts as there are threads, if it has enough multiply-adds for them all.
    pub(super) fn parts(self, channels: usize, multiply_adds: usize) -> impl Iterator<Item = Range<usize>> {
        let parts = self.threads.min(multiply_adds / self.least_part).clamp(1, channels.max(1));
        (0..parts).map(move |part| channels * part / parts..channels * (part + 1) / parts)
    }
}

/// What a layer does to one image.
pub(super) trait Kernel: Send + Sync + 'static {
    /// What the images that it reads are made of.
    type Input: Datum;
    /// What the image that it writes is made of.
    type Output: Datum;

    /// What `hgad bench` calls it.
    fn name(&self) -> &'static str;

    /// Writes every element of `output`, and reads none of them before. `second` is what is added, where the layer adds something.
    fn run(
        &self,
        image: &[Self::Input],
        second: Option<&[Self::Input]>,
        output: &mut [Self::Output],
        scratch: &mut Scratch,
    ) -> std::result::Result<(), hgad_kernels::Error>;
}

/// What one thread computes of a layer: some of its output's channels.
pub(super) struct Part<K> {
    pub(super) kernel: K,
    /// Elements of the image that the kernel reads.
    pub(super) image: Range<usize>,
    /// Elements of the output, and of what is added, behind those of the parts before.
    pub(super) output: Range<usize>,
}

/// A layer as an operator with one input or two.
pub(super) struct Operator<K> {
    /// One at least.
    pub(super) parts: Arc<[Part<K>]>,
    /// `[1, channels, height, width]`.
    output: TVec<usize>,
    multiply_adds: usize,
}

impl<K: Kernel> Operator<K> {
    /// `output` is the shape of what the parts write, `multiply_adds` what one image costs.
    pub(super) fn new(parts: Vec<Part<K>>, output: &[usize], multiply_adds: usize) -> Self {
        Operator { parts: parts.into(), output: output.into(), multiply_adds }
    }
}

impl<K> Clone for Operator<K> {
    fn clone(&self) -> Self {
        Operator { parts: self.parts.clone(), output: self.output.clone(), multiply_adds: self.multiply_adds }
    }
}

impl<K: Kernel> fmt::Debug for Operator<K> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} to {:?}", self.parts[0].kernel.name(), self.output)
    }
}

/// The same one: kernels are not compared, as no two nodes share one.
impl<K> PartialEq for Operator<K> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }
}

impl<K> Eq for Operator<K> {}

impl<K: Kernel> Op for Operator<K> {
    fn name(&self) -> StaticName {
        self.parts[0].kernel.name().into()
    }

    op_as_typed_op!();
}

impl<K: Kernel> EvalOp for Operator<K> {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let image = inputs[0].try_as_plain_ram()?.as_slice::<K::Input>()?;
        let second = inputs.get(1).map(|value| value.try_as_plain_ram()?.as_slice::<K::Input>()).transpose()?;
        // SAFETY: the kernels write every element, and read none of them before.
        let mut output = unsafe { Tensor::uninitialized::<K::Output>(&self.output)? };
        let mut plain = output.try_as_plain_ram_mut()?;
        let values = plain.as_slice_mut::<K::Output>()?;
        let run = |part: &Part<K>, values: &mut [K::Output]| {
            let second = second.map(|second| &second[part.output.clone()]);
            let image = &image[part.image.clone()];
            SCRATCH.with_borrow_mut(|scratch| part.kernel.run(image, second, values, scratch))
        };
        share(&self.parts, values, &|part| part.output.len(), &run)?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl<K: Kernel> TypedOp for Operator<K> {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(K::Output::fact(&self.output)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(K::Input::datum_type()), self.multiply_adds.to_dim())))
    }

    as_op!();
}
