//! The network's graph, convolution by convolution.

use tract_onnx::pb::ModelProto;

use super::super::state_dict::{StateDict, Tensor};
use super::names::{Naming, Padding, Part, Place};
use super::{Lite, STEM, Stage};
use crate::backbone::IMAGE;
use crate::onnx::{GraphWriter, OPSET, free_value, int, ints};

/// A convolution, batch norm and perhaps ReLU6.
struct Layer {
    kernel: usize,
    stride: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    rectified: bool,
}

/// A graph under construction.
pub struct Writer<'w> {
    weights: &'w StateDict,
    naming: Naming,
    padding: Padding,
    graph: GraphWriter,
}

impl<'w> Writer<'w> {
    pub fn new(weights: &'w StateDict, naming: Naming, padding: Padding) -> Self {
        Writer { weights, naming, padding, graph: GraphWriter::default() }
    }

    /// Writes all of the network. The reason of an error names the tensor.
    pub fn write(&mut self, lite: Lite) -> Result<(), String> {
        let mut at = Place { stage: 0, block: 0, number: 0, expands: false };
        let pixels = self.normalised();
        let stem = Layer { kernel: 3, stride: 2, groups: 1, inputs: 3, outputs: STEM, rectified: true };
        let mut tensor = self.layer(&pixels, "stem", Part::Stem, at, &stem)?;
        let mut channels = STEM;
        for (s, stage) in lite.stages().iter().enumerate() {
            for block in 0..stage.repeats {
                at = Place { stage: s, block, number: at.number, expands: stage.expansion > 1 };
                tensor = self.block(&tensor, stage, at, channels)?;
                channels = stage.channels;
                at.number += 1;
            }
        }
        match self.further(lite, at) {
            None => Ok(()),
            Some(name) => Err(format!("it has {name}, which this network has not")),
        }
    }

    /// The model whose outputs are the taps.
    pub fn finish(self, lite: Lite) -> ModelProto {
        let image = free_value(IMAGE, &[Some(1), Some(3), None, None]);
        let taps = lite.taps().into_iter();
        let outputs = taps.map(|(_, name, channels)| free_value(name, &[Some(1), Some(channels), None, None]));
        self.graph.finish(OPSET, vec![image], outputs.collect())
    }

    fn normalised(&mut self) -> String {
        let (mean, std) = self.padding.pixels(self.naming);
        let mean = self.graph.f32("pixels.mean", &[1, 3, 1, 1], &mean);
        let factor = self.graph.f32("pixels.factor", &[1, 3, 1, 1], &std.map(f32::recip));
        let centred = self.graph.op("Sub", &[IMAGE, &mean], "pixels.centred");
        self.graph.op("Mul", &[&centred, &factor], "pixels")
    }

    /// An inverted bottleneck: widened, filtered channel by channel, narrowed; with its input added where it has the same shape.
    fn block(&mut self, input: &str, stage: &Stage, at: Place, channels: usize) -> Result<String, String> {
        let (inside, base) = (channels * stage.expansion, format!("stage{}.{}", at.stage, at.block));
        let stride = if at.block == 0 { stage.stride } else { 1 };
        let plain = Layer { kernel: 1, stride: 1, groups: 1, inputs: channels, outputs: inside, rectified: true };
        let mut tensor = input.to_owned();
        if at.expands {
            tensor = self.layer(&tensor, &format!("{base}.expand"), Part::Expand, at, &plain)?;
        }
        let filter =
            Layer { kernel: stage.kernel, stride, groups: inside, inputs: inside, outputs: inside, rectified: true };
        tensor = self.layer(&tensor, &format!("{base}.dw"), Part::Depthwise, at, &filter)?;
        let narrow = Layer { inputs: inside, outputs: stage.channels, rectified: false, ..plain };
        tensor = self.layer(&tensor, &format!("{base}.project"), Part::Project, at, &narrow)?;
        Ok(match at.block {
            0 => tensor,
            _ => self.graph.op("Add", &[&tensor, input], stage.block_output(at.stage, at.block)),
        })
    }

    fn layer(&mut self, input: &str, name: &str, part: Part, at: Place, layer: &Layer) -> Result<String, String> {
        let (conv, norm) = self.naming.layer(part, at);
        let shape = [layer.outputs, layer.inputs / layer.groups, layer.kernel, layer.kernel];
        let weights = self.tensor(&format!("{conv}.weight"), &shape)?;
        let (factors, bias) = self.norm(&norm, layer.outputs)?;
        let each = weights.values.len() / layer.outputs;
        let folded = weights.values.iter().enumerate();
        let folded = folded.map(|(i, weight)| (f64::from(*weight) * factors[i / each]) as f32).collect::<Vec<_>>();
        let weights = self.graph.f32(format!("{name}.weight"), &shape, &folded);
        let bias = self.graph.f32(format!("{name}.bias"), &[layer.outputs], &bias);
        let (kernel, stride) = (layer.kernel as i64, layer.stride as i64);
        let attributes = vec![
            ints("kernel_shape", &[kernel, kernel]),
            ints("strides", &[stride, stride]),
            ints("pads", &self.padding.pads(layer.kernel, layer.stride)),
            int("group", layer.groups as i64),
        ];
        let tensor = self.graph.op_with("Conv", &[input, &weights, &bias], name, attributes);
        if !layer.rectified {
            return Ok(tensor);
        }
        let (least, most) =
            (self.graph.f32(format!("{name}.least"), &[], &[0.0]), self.graph.f32(format!("{name}.most"), &[], &[6.0]));
        Ok(self.graph.op("Clip", &[&tensor, &least, &most], format!("{name}.relu6")))
    }

    /// A batch norm as a factor and a summand for each channel.
    fn norm(&self, name: &str, channels: usize) -> Result<(Vec<f64>, Vec<f32>), String> {
        let of = |what: &str| Ok::<_, String>(&self.tensor(&format!("{name}.{what}"), &[channels])?.values);
        let (gain, bias, mean, variance) = (of("weight")?, of("bias")?, of("running_mean")?, of("running_var")?);
        let epsilon = self.padding.epsilon();
        let factors = gain.iter().zip(variance).map(|(gain, v)| f64::from(*gain) / (f64::from(*v) + epsilon).sqrt());
        let factors = factors.collect::<Vec<_>>();
        let summands = bias.iter().zip(mean).zip(&factors);
        let summands = summands.map(|((bias, mean), factor)| (f64::from(*bias) - f64::from(*mean) * factor) as f32);
        let summands = summands.collect::<Vec<_>>();
        match factors.iter().all(|factor| factor.is_finite()) && summands.iter().all(|value| value.is_finite()) {
            true => Ok((factors, summands)),
            false => Err(format!("{name} is not finite: the file is damaged")),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<&'w Tensor, String> {
        let tensor = self.weights.get(name).ok_or_else(|| format!("it has no tensor {name}"))?;
        if tensor.shape != shape {
            return Err(format!("its tensor {name} is {:?}, not {shape:?}", tensor.shape));
        }
        match tensor.values.iter().all(|value| value.is_finite()) {
            true => Ok(tensor),
            false => Err(format!("its tensor {name} is not finite: the file is damaged")),
        }
    }

    /// A block that the file has and the network, which ended before the place `at`, has not: it is a bigger one's.
    fn further(&self, lite: Lite, at: Place) -> Option<String> {
        let stages = lite.stages();
        let beyond =
            stages.iter().enumerate().map(|(stage, of)| Place { stage, block: of.repeats, expands: true, ..at });
        let names = beyond.map(|place| format!("{}.weight", self.naming.layer(Part::Depthwise, place).0));
        names.into_iter().find(|name| self.weights.contains_key(name))
    }
}
