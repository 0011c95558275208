//! One operator of tract's graph for all layers that our kernels compute.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use hgad_kernels::Scratch;
use tract_onnx::tract_core::internal::*;

thread_local! {
    /// The kernels' working memory, which all networks of a thread share.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
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

/// A kernel as an operator with one input or two.
pub(super) struct Operator<K> {
    pub(super) kernel: Arc<K>,
    /// `[1, channels, height, width]`.
    output: TVec<usize>,
    multiply_adds: usize,
}

impl<K: Kernel> Operator<K> {
    /// `output` is the shape of what the kernel writes, `multiply_adds` what one image costs.
    pub(super) fn new(kernel: K, output: &[usize], multiply_adds: usize) -> Self {
        Operator { kernel: Arc::new(kernel), output: output.into(), multiply_adds }
    }
}

impl<K> Clone for Operator<K> {
    fn clone(&self) -> Self {
        Operator { kernel: self.kernel.clone(), output: self.output.clone(), multiply_adds: self.multiply_adds }
    }
}

impl<K: Kernel> fmt::Debug for Operator<K> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} to {:?}", self.kernel.name(), self.output)
    }
}

/// The same one: kernels are not compared, as no two nodes share one.
impl<K> PartialEq for Operator<K> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl<K> Eq for Operator<K> {}

impl<K: Kernel> Op for Operator<K> {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    op_as_typed_op!();
}

impl<K: Kernel> EvalOp for Operator<K> {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let image = inputs[0].try_as_plain_ram()?.as_slice::<K::Input>()?;
        let second = inputs.get(1).map(|value| value.try_as_plain_ram()?.as_slice::<K::Input>()).transpose()?;
        // SAFETY: the kernel writes every element, and reads none of them before.
        let mut output = unsafe { Tensor::uninitialized::<K::Output>(&self.output)? };
        let mut plain = output.try_as_plain_ram_mut()?;
        let values = plain.as_slice_mut::<K::Output>()?;
        SCRATCH.with_borrow_mut(|scratch| self.kernel.run(image, second, values, scratch))?;
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
