//! The cut graph under tract.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hgad::Result;
use hgad::bundle::InputSize;
use ndarray::{Array3, Array4, Ix4};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::unusable;

/// A graph that tract has prepared for one input size; shared by all its runners.
pub(crate) struct Plan {
    origin: String,
    size: InputSize,
    model: Arc<TypedRunnableModel>,
}

/// One thread's state for running a backbone.
pub struct Runner {
    origin: String,
    state: TypedSimpleState,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("origin", &self.origin).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Plan {
    pub fn new(origin: &str, graph: &ModelProto, size: InputSize) -> Result<Self> {
        let model = guarded(origin, || {
            tract_onnx::onnx()
                .with_ignore_value_info(true)
                .with_ignore_output_shapes(true)
                .model_for_proto_model(graph)?
                .with_input_fact(0, f32::fact([1, 3, size.height, size.width]).into())?
                .into_optimized()?
                .into_runnable()
        })?;
        Ok(Plan { origin: origin.to_owned(), size, model })
    }

    pub fn runner(&self) -> Result<Runner> {
        let state = guarded(&self.origin, || self.model.spawn())?;
        Ok(Runner { origin: self.origin.clone(), state })
    }

    /// The tap outputs for a grey image.
    pub fn probe(&self) -> Result<Vec<Array3<f32>>> {
        self.runner()?.run(Array4::from_elem((1, 3, self.size.height, self.size.width), 128.0))
    }
}

impl Runner {
    /// The features `(D, h, w)` of every tap for an image `[1, 3, H, W]`, RGB, 0..255.
    pub fn run(&mut self, image: Array4<f32>) -> Result<Vec<Array3<f32>>> {
        let Runner { origin, state } = self;
        guarded(origin, || {
            let outputs = state.run(tvec!(Tensor::from(image).into_tvalue()))?;
            outputs.into_iter().map(features).collect()
        })
    }
}

fn features(output: TValue) -> TractResult<Array3<f32>> {
    let array = output.into_tensor().into_plain_array::<f32>()?.into_dimensionality::<Ix4>()?;
    let (batch, d, h, w) = array.dim();
    if batch != 1 {
        return Err(TractError::msg(format!("an output has batch size {batch}, not 1")));
    }
    Ok(array.into_shape_with_order((d, h, w))?)
}

/// Runs `work` and turns its failure into an error that names the file.
///
/// tract panics on some graphs that make no sense; that must not take the program down.
pub(crate) fn guarded<T>(origin: &str, work: impl FnOnce() -> TractResult<T>) -> Result<T> {
    let failed = |why: String| {
        unusable(origin, "tract cannot run it at this size")
            .because(why)
            .advise("use an image size that the network takes (often a multiple of 32), or another network")
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| failed(format!("{error:#}"))),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(failed(message.unwrap_or("it stopped without a word").to_owned()))
        }
    }
}
