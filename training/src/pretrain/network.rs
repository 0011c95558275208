//! The backbone: plain convolutions with ReLU, steps of two instead of pooling, no normalisation layers.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, TensorData};
use hgad::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::ModelProto;

use super::pattern::{COLOURS, FAMILIES};
use crate::onnx::{GraphWriter, OPSET, float_value, ints};

/// One 3x3 convolution.
struct Layer {
    channels: usize,
    stride: usize,
    /// The output's name in the ONNX file where it ends a stage: `stageN` has one position per N x N pixels.
    stage: Option<&'static str>,
}

const LAYERS: [Layer; 7] = [
    Layer { channels: 16, stride: 2, stage: None },
    Layer { channels: 32, stride: 2, stage: None },
    Layer { channels: 32, stride: 1, stage: Some("stage4") },
    Layer { channels: 48, stride: 2, stage: None },
    Layer { channels: 48, stride: 1, stage: Some("stage8") },
    Layer { channels: 64, stride: 2, stage: None },
    Layer { channels: 64, stride: 1, stage: Some("stage16") },
];

/// Pixels 0..255 become `(x - CENTRE) / SPREAD`.
const CENTRE: f32 = 127.5;
const SPREAD: f32 = 64.0;

/// The backbone with the two heads of its pretext task.
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    kernels: Vec<Param<Tensor<B, 4>>>,
    biases: Vec<Param<Tensor<B, 1>>>,
    family: Param<Tensor<B, 2>>,
    colour: Param<Tensor<B, 2>>,
}

impl<B: Backend> Network<B> {
    /// He's initialisation, drawn from `seed`.
    pub fn new(seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |count: usize, fan_in: usize| {
            // Uniform with the variance 2 / fan_in.
            let bound = (6.0 / fan_in as f32).sqrt();
            (0..count).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>()
        };
        let (mut kernels, mut biases, mut inputs) = (Vec::new(), Vec::new(), 3);
        for layer in &LAYERS {
            let values = draw(layer.channels * inputs * 9, inputs * 9);
            let data = TensorData::new(values, [layer.channels, inputs, 3, 3]);
            kernels.push(Param::from_tensor(Tensor::from_data(data, device)));
            biases.push(Param::from_tensor(Tensor::zeros([layer.channels], device)));
            inputs = layer.channels;
        }
        // A mean of the features, and their maxima: textures fill a patch, shapes do not.
        let mut head = |outputs: usize| {
            let data = TensorData::new(draw(2 * inputs * outputs, 12 * inputs), [2 * inputs, outputs]);
            Param::from_tensor(Tensor::from_data(data, device))
        };
        Network { family: head(FAMILIES), colour: head(COLOURS.len()), kernels, biases }
    }

    /// Logits of the families `(N, FAMILIES)` and of each colour's presence `(N, COLOURS)`.
    pub fn forward(&self, images: Tensor<B, 4>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let mut x = (images - CENTRE) / SPREAD;
        for ((layer, kernel), bias) in LAYERS.iter().zip(&self.kernels).zip(&self.biases) {
            let options = ConvOptions::new([layer.stride; 2], [1, 1], [1, 1], 1);
            x = relu(conv2d(x, kernel.val(), Some(bias.val()), options));
        }
        let positions = x.flatten::<3>(2, 3);
        let mean = positions.clone().mean_dim(2).squeeze_dim::<2>(2);
        let most = positions.max_dim(2).squeeze_dim::<2>(2);
        let pooled = Tensor::cat(vec![mean, most], 1);
        (pooled.clone().matmul(self.family.val()), pooled.matmul(self.colour.val()))
    }

    /// The backbone as ONNX, RGB 0..255 `[1, 3, size, size]` to its last stage; the heads are left out.
    ///
    /// # Errors
    ///
    /// The backend cannot give its numbers as floats.
    pub fn to_onnx(&self, size: usize) -> Result<ModelProto> {
        let floats = |data: TensorData| {
            data.to_vec::<f32>().map_err(|error| hgad::Error::device(format!("weights are no floats: {error:?}")))
        };
        let mut graph = GraphWriter::default();
        let centre = graph.f32("centre", &[1, 3, 1, 1], &[CENTRE; 3]);
        let spread = graph.f32("spread", &[1, 3, 1, 1], &[SPREAD; 3]);
        let centred = graph.op("Sub", &["image", &centre], "centred");
        let mut x = graph.op("Div", &[&centred, &spread], "normalised");
        let (mut inputs, mut side) = (3, size);
        for (i, layer) in LAYERS.iter().enumerate() {
            let kernel = floats(self.kernels[i].val().into_data())?;
            let bias = floats(self.biases[i].val().into_data())?;
            let kernel = graph.f32(format!("conv{i}.weight"), &[layer.channels, inputs, 3, 3], &kernel);
            let bias = graph.f32(format!("conv{i}.bias"), &[layer.channels], &bias);
            let stride = layer.stride as i64;
            let attributes =
                vec![ints("kernel_shape", &[3, 3]), ints("strides", &[stride; 2]), ints("pads", &[1, 1, 1, 1])];
            let sum = graph.op_with("Conv", &[&x, &kernel, &bias], format!("conv{i}"), attributes);
            x = graph.op("Relu", &[&sum], layer.stage.map_or_else(|| format!("relu{i}"), str::to_owned));
            (inputs, side) = (layer.channels, side.div_ceil(layer.stride));
        }
        let image = float_value("image", &[1, 3, size, size]);
        Ok(graph.finish(OPSET, vec![image], vec![float_value(x, &[1, inputs, side, side])]))
    }
}
