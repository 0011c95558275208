//! The network: the bundle's ONNX graph, run by tract, with operators of our own where those are faster.

mod convolutions;
mod flow;
mod operator;
mod profile;
mod quantised;
mod team;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hgad_kernels::Tier;
use tract_onnx::prelude::*;

use self::operator::Machine;
use self::team::Team;
use super::Latents;
use crate::bundle::{Manifest, admit_graph, parse_graph};
use crate::{Error, Result, panic_text};
pub use profile::Layer;
use quantised::Constants;

/// No activation of a network that is let in may have more elements than this (256 MiB of floats).
const MOST_ELEMENTS: usize = 64 << 20;

type Plan = Arc<TypedRunnableModel>;
type State = TypedSimpleState;

/// The loaded network.
pub(super) struct Network {
    state: State,
    team: Team,
    /// `[1, 3, H, W]`; the state has it as long as it runs.
    input: Arc<Tensor>,
}

impl Network {
    /// Admits, loads and optimises the graph for `threads` that share a frame, and checks that its outputs are the manifest's levels.
    pub(super) fn load(manifest: &Manifest, model: &[u8], threads: usize) -> Result<Self> {
        let origin = "the bundle's model.onnx";
        let proto = parse_graph(origin, model)?;
        admit_graph(origin, &proto)?;
        let failed = |why: String| Error::device(format!("{origin} cannot be loaded")).because(why);
        // tract panics on some graphs that are well-formed but make no sense.
        let plan = catch_unwind(AssertUnwindSafe(|| build(manifest, &proto, threads)))
            .map_err(|panic| failed(format!("panic: {}", panic_text(panic.as_ref()))))?
            .map_err(|error| failed(format!("{error:#}")))?;
        let state = plan.spawn().map_err(|error| failed(format!("{error:#}")))?;
        let shape = [1, 3, manifest.input.height, manifest.input.width];
        let input = Tensor::zero::<f32>(&shape).map_err(|error| failed(format!("{error:#}")))?;
        Ok(Network { state, team: Team::new(threads)?, input: Arc::new(input) })
    }

    /// The input `[1, 3, H, W]`, RGB, 0..255, of the next [`Network::run`].
    pub(super) fn input(&mut self) -> Result<&mut [f32]> {
        // A run that failed may hold it still; then it becomes another one.
        let values = Arc::make_mut(&mut self.input).to_plain_array_view_mut::<f32>();
        let values = values.map_err(|error| Error::device("the network has no input").because(format!("{error:#}")))?;
        Ok(values.into_slice().expect("a new tensor is one piece"))
    }

    /// Runs the network on its input, and leaves what it says in `latents`, which are of the manifest's levels.
    ///
    /// # Errors
    ///
    /// The network fails, or gives a value that is not finite: no score can be trusted then.
    pub(super) fn run(&mut self, latents: &mut Latents) -> Result<()> {
        let failed = |why: String| Error::device("the network failed on this frame").because(why);
        let input = tvec!(TValue::from_const(self.input.clone()));
        let outputs = self.team.run(|| self.state.run(input)).map_err(|error| failed(format!("{error:#}")))?;
        let places = latents.z.iter_mut().map(|z| z.as_slice_mut());
        let places = places.zip(latents.logdet.iter_mut().map(|logdet| logdet.as_slice_mut()));
        for (output, place) in outputs.iter().zip(places.flat_map(|(z, logdet)| [z, logdet])) {
            let place = place.expect("latents are made in one piece");
            let values = output.try_as_plain_ram().and_then(|plain| plain.as_slice::<f32>());
            let values = values.map_err(|error| failed(format!("{error:#}")))?;
            if values.len() != place.len() {
                return Err(failed("its output has another size than it told".into()));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err(failed("its output is not finite".into()));
            }
            place.copy_from_slice(values);
        }
        Ok(())
    }
}

fn build(manifest: &Manifest, proto: &tract_onnx::pb::ModelProto, threads: usize) -> TractResult<Plan> {
    let mut model = typed(manifest, proto)?;
    replace(&mut model, &Constants::read(proto)?, Machine::new(Tier::detect()?, threads))?;
    model.into_optimized()?.into_runnable()
}

/// The graph as tract reads it.
fn typed(manifest: &Manifest, proto: &tract_onnx::pb::ModelProto) -> TractResult<TypedModel> {
    let (width, height) = (manifest.input.width, manifest.input.height);
    let model = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_proto_model(proto)?
        .with_input_fact(0, f32::fact([1, 3, height, width]).into())?
        .into_typed()?;
    check_sizes(&model)?;
    check_outputs(manifest, &model)?;
    Ok(model)
}

/// Puts our own operators in the place of tract's, wherever they fit. `constants` are those of convolutions in 8 bits.
fn replace(model: &mut TypedModel, constants: &HashMap<String, Constants>, machine: Machine) -> TractResult<()> {
    // Weights that are stored in 8 bits and computed with in floats become constants, so that they can be packed.
    model.prop_consts()?;
    quantised::replace(model, constants, machine)?;
    flow::replace(model, machine)?;
    convolutions::replace(model, machine)
}

fn check_sizes(model: &TypedModel) -> TractResult<()> {
    for node in &model.nodes {
        for output in &node.outputs {
            let shape = output.fact.shape.as_concrete();
            let elements = shape.and_then(|dims| dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim)));
            if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
                return Err(TractError::msg(format!(
                    "node '{}' has an output of shape {:?}, which is not fixed or too large",
                    node.name, output.fact.shape
                )));
            }
        }
    }
    Ok(())
}

fn check_outputs(manifest: &Manifest, model: &TypedModel) -> TractResult<()> {
    let outputs = model.output_outlets()?;
    if outputs.len() != 2 * manifest.levels.len() {
        return Err(TractError::msg(format!(
            "it has {} outputs; the manifest's {} levels need two each",
            outputs.len(),
            manifest.levels.len()
        )));
    }
    for (l, level) in manifest.levels.iter().enumerate() {
        for (outlet, channels) in [(outputs[2 * l], level.channels), (outputs[2 * l + 1], 1)] {
            let fact = model.outlet_fact(outlet)?;
            let expected = [1, channels, level.height, level.width];
            if fact.datum_type != f32::datum_type() || fact.shape.as_concrete() != Some(&expected[..]) {
                return Err(TractError::msg(format!(
                    "level {}: the output is {fact:?}, expected f32 {expected:?}",
                    level.tap
                )));
            }
        }
    }
    Ok(())
}
