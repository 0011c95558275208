//! Where a frame's time goes inside the network: every operator by itself.

use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{Cost, TDim};

use super::Network;
use crate::{Error, Result};

/// One operator of the optimised graph.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name in the graph.
    pub name: String,
    /// What computes it.
    pub operator: String,
    /// The shape of its first output.
    pub shape: Vec<usize>,
    /// Multiply-adds of one frame; 0 for what only moves or transforms values.
    pub multiply_adds: u64,
    /// The median of its time over the frames.
    pub time: Duration,
}

impl Network {
    /// Runs the network on its input `frames` times and times every operator, in the order in which they run.
    ///
    /// # Errors
    ///
    /// As [`Network::run`].
    pub(in crate::inspect) fn profile(&mut self, frames: usize) -> Result<Vec<Layer>> {
        let failed =
            |error: TractError| Error::device("the network failed on this frame").because(format!("{error:#}"));
        let mut times = vec![Vec::with_capacity(frames); self.state.model().nodes.len()];
        let mut order = Vec::new();
        for frame in 0..frames {
            let input = tvec!(TValue::from_const(self.input.clone()));
            let run = self.team.run(|| {
                self.state.run_plan_with_eval(input, |context, state, node, inputs| {
                    if frame == 0 {
                        order.push(node.id);
                    }
                    let start = Instant::now();
                    let outputs = tract_onnx::tract_core::plan::eval(context, state, node, inputs);
                    times[node.id].push(start.elapsed());
                    outputs
                })
            });
            run.map_err(failed)?;
        }
        let model = self.state.model().clone();
        order.into_iter().map(|id| layer(&model, id, &mut times[id]).map_err(failed)).collect()
    }
}

fn layer(model: &TypedModel, id: usize, times: &mut [Duration]) -> TractResult<Layer> {
    let node = model.node(id);
    times.sort();
    let inputs = model.node_input_facts(id)?;
    let costs = node.op.cost(&inputs)?;
    let multiply_adds = costs.iter().filter(|(cost, _)| matches!(cost, Cost::FMA(_)));
    let multiply_adds = multiply_adds.map(|(_, count): &(Cost, TDim)| count.to_i64().unwrap_or(0) as u64).sum();
    let shape = node.outputs.first().and_then(|output| output.fact.shape.as_concrete()).unwrap_or(&[]).to_vec();
    Ok(Layer {
        name: node.name.clone(),
        operator: node.op.name().into_owned(),
        shape,
        multiply_adds,
        time: times[times.len() / 2],
    })
}
