//! The layers of MobileNetV2's features at 256 pixels.

use hgad_kernels::quantized::{self, Output, Quantization, Sum, Weights};
use hgad_kernels::{Clamp, Convolution, Depthwise, Padding, Pointwise, Scratch, Tier, Window};

/// Elements of the largest output.
pub const LARGEST: usize = 96 * 128 * 128;

/// What a layer computes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Dense 3x3 of stride 2 from `inputs` channels.
    First,
    /// 3x3 per channel with this stride.
    Depthwise(usize),
    /// 1x1, with ReLU6 or none.
    Pointwise { clamped: bool, residual: bool },
}

/// A layer, and how often the network has it.
pub struct Layer {
    pub kind: Kind,
    pub inputs: usize,
    pub outputs: usize,
    /// Height and width of the input.
    pub side: usize,
    pub times: usize,
}

const fn first(inputs: usize, outputs: usize, side: usize) -> Layer {
    Layer { kind: Kind::First, inputs, outputs, side, times: 1 }
}

const fn depthwise(channels: usize, side: usize, stride: usize, times: usize) -> Layer {
    Layer { kind: Kind::Depthwise(stride), inputs: channels, outputs: channels, side, times }
}

/// Channels grow.
const fn expand(inputs: usize, outputs: usize, side: usize, times: usize) -> Layer {
    Layer { kind: Kind::Pointwise { clamped: true, residual: false }, inputs, outputs, side, times }
}

/// Channels shrink.
const fn project(inputs: usize, outputs: usize, side: usize, times: usize) -> Layer {
    Layer { kind: Kind::Pointwise { clamped: false, residual: false }, inputs, outputs, side, times }
}

/// As `project`, with the block's input added.
const fn residual(inputs: usize, outputs: usize, side: usize, times: usize) -> Layer {
    Layer { kind: Kind::Pointwise { clamped: false, residual: true }, inputs, outputs, side, times }
}

/// All of them; equal ones are listed once.
pub const LAYERS: [Layer; 33] = [
    first(3, 32, 256),
    depthwise(32, 128, 1, 1),
    project(32, 16, 128, 1),
    expand(16, 96, 128, 1),
    depthwise(96, 128, 2, 1),
    project(96, 24, 64, 1),
    expand(24, 144, 64, 2),
    depthwise(144, 64, 1, 1),
    residual(144, 24, 64, 1),
    depthwise(144, 64, 2, 1),
    project(144, 32, 32, 1),
    expand(32, 192, 32, 3),
    depthwise(192, 32, 1, 2),
    residual(192, 32, 32, 2),
    depthwise(192, 32, 2, 1),
    project(192, 64, 16, 1),
    expand(64, 384, 16, 4),
    depthwise(384, 16, 1, 4),
    residual(384, 64, 16, 3),
    project(384, 96, 16, 1),
    expand(96, 576, 16, 3),
    depthwise(576, 16, 1, 2),
    residual(576, 96, 16, 2),
    depthwise(576, 16, 2, 1),
    project(576, 160, 8, 1),
    expand(160, 960, 8, 3),
    depthwise(960, 8, 1, 3),
    residual(960, 160, 8, 2),
    project(960, 320, 8, 1),
    expand(320, 1280, 8, 1),
    // Not of MobileNetV2: 5x5, as EfficientNet has it, and a flow's linear layer.
    Layer { times: 0, ..depthwise_5x5(144, 64) },
    Layer { times: 0, ..depthwise_5x5(480, 16) },
    project(48, 192, 1024, 0),
];

const fn depthwise_5x5(channels: usize, side: usize) -> Layer {
    // A stride of 0 stands for the 5x5 window of stride 1.
    depthwise(channels, side, 0, 0)
}

/// A float kernel with its input.
pub enum Made {
    First(Convolution, Vec<f32>),
    Depthwise(Depthwise, Vec<f32>),
    Pointwise(Pointwise, Vec<f32>, Option<Vec<f32>>),
}

/// An 8-bit kernel with its input.
pub enum MadeOfBytes {
    First(quantized::Convolution, Vec<u8>),
    Depthwise(quantized::Depthwise, Vec<u8>),
    Pointwise(quantized::Pointwise, Vec<u8>, Option<Vec<u8>>),
}

impl Layer {
    /// Kind and shape.
    pub fn name(&self) -> String {
        let Layer { inputs, outputs, side, .. } = self;
        match self.kind {
            Kind::First => format!("first {inputs}->{outputs} @{side}"),
            Kind::Depthwise(0) => format!("depthwise5 {inputs} @{side}"),
            Kind::Depthwise(stride) => format!("depthwise {inputs} @{side} stride {stride}"),
            Kind::Pointwise { residual: true, .. } => format!("pointwise {inputs}->{outputs} @{side} +"),
            Kind::Pointwise { .. } => format!("pointwise {inputs}->{outputs} @{side}"),
        }
    }

    /// Multiplications.
    pub fn macs(&self) -> usize {
        let Layer { inputs, outputs, side, .. } = *self;
        match self.kind {
            Kind::First => inputs * outputs * 9 * (side / 2) * (side / 2),
            Kind::Depthwise(0) => outputs * 25 * side * side,
            Kind::Depthwise(stride) => outputs * 9 * (side / stride) * (side / stride),
            Kind::Pointwise { .. } => inputs * outputs * self.positions(),
        }
    }

    /// Pixels; the flow's layer says them itself.
    fn positions(&self) -> usize {
        if self.side > 256 { self.side } else { self.side * self.side }
    }

    /// The layer's kernel, over numbers that are not all alike.
    pub fn make(&self, tier: Tier) -> Made {
        let Layer { inputs, outputs, side, .. } = *self;
        let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7 % 19) as f32 / 19.0 - 0.4).collect() };
        let bias = numbers(outputs);
        let made = match self.kind {
            Kind::First => {
                let window = Window::square(side, side, 3, 2, Padding::all(1));
                Convolution::new(tier, (inputs, outputs), window, &numbers(inputs * outputs * 9), &bias, Clamp::RELU6)
                    .map(|kernel| Made::First(kernel, numbers(inputs * side * side)))
            }
            Kind::Depthwise(stride) => {
                let (k, stride) = if stride == 0 { (5, 1) } else { (3, stride) };
                let window = Window::square(side, side, k, stride, Padding::all(k / 2));
                Depthwise::new(tier, inputs, window, &numbers(inputs * k * k), &bias, Clamp::RELU6)
                    .map(|kernel| Made::Depthwise(kernel, numbers(inputs * side * side)))
            }
            Kind::Pointwise { clamped, residual } => {
                let positions = self.positions();
                let clamp = if clamped { Clamp::RELU6 } else { Clamp::NONE };
                let added = residual.then(|| numbers(outputs * positions));
                Pointwise::new(tier, (inputs, outputs, positions), &numbers(inputs * outputs), &bias, clamp)
                    .map(|kernel| Made::Pointwise(kernel, numbers(inputs * positions), added))
            }
        };
        made.expect("the layers' shapes are right, and the tier is this CPU's")
    }
}

impl Layer {
    /// The layer's 8-bit kernel.
    pub fn make_of_bytes(&self, tier: Tier) -> MadeOfBytes {
        let Layer { inputs, outputs, side, .. } = *self;
        let bytes = |len: usize| -> Vec<u8> { (0..len).map(|i| (i * 7 % 251) as u8).collect() };
        // About normal, as trained weights are: the sum of a hash's four bytes, with a deviation of 36.
        let values: Vec<i8> = (0..inputs * outputs * 25)
            .map(|i| {
                let hash = (i as u32).wrapping_mul(0x9e37_79b1) ^ (i as u32).wrapping_mul(0x85eb_ca6b).rotate_left(13);
                let sum: i32 = hash.to_le_bytes().iter().map(|&byte| i32::from(byte) - 128).sum();
                (sum / 4).clamp(-127, 127) as i8
            })
            .collect();
        let (scales, bias) = (vec![0.01; outputs], vec![7; outputs]);
        let weights = |len: usize| Weights { values: &values[..len], scales: &scales, bias: &bias };
        let input = Quantization { scale: 0.02, zero: 0 };
        let output = Output { quantization: Quantization { scale: 0.03, zero: 9 }, clamp: Clamp::RELU6, sum: None };
        let made = match self.kind {
            Kind::First => {
                let (window, len) = (Window::square(side, side, 3, 2, Padding::all(1)), inputs * outputs * 9);
                quantized::Convolution::new(tier, (inputs, outputs), window, weights(len), input, output)
                    .map(|kernel| MadeOfBytes::First(kernel, bytes(inputs * side * side)))
            }
            Kind::Depthwise(stride) => {
                let (k, stride) = if stride == 0 { (5, 1) } else { (3, stride) };
                let window = Window::square(side, side, k, stride, Padding::all(k / 2));
                quantized::Depthwise::new(tier, inputs, window, weights(inputs * k * k), input, output)
                    .map(|kernel| MadeOfBytes::Depthwise(kernel, bytes(inputs * side * side)))
            }
            Kind::Pointwise { clamped, residual } => {
                let positions = self.positions();
                let clamp = if clamped { Clamp::RELU6 } else { Clamp::NONE };
                let sum = residual.then_some(Sum { residual: input, output: output.quantization, clamp: Clamp::NONE });
                let output = Output { clamp, sum, ..output };
                let added = residual.then(|| bytes(outputs * positions));
                let shape = (inputs, outputs, positions);
                quantized::Pointwise::new(tier, shape, weights(inputs * outputs), input, output)
                    .map(|kernel| MadeOfBytes::Pointwise(kernel, bytes(inputs * positions), added))
            }
        };
        made.expect("the layers' shapes are right, and the tier is this CPU's")
    }
}

impl MadeOfBytes {
    /// Runs the kernel once, into the start of `output`.
    pub fn run(&self, output: &mut [u8], scratch: &mut Scratch) {
        match self {
            MadeOfBytes::First(kernel, image) => kernel.run(image, None, &mut output[..kernel.output_len()], scratch),
            MadeOfBytes::Depthwise(kernel, image) => {
                kernel.run(image, None, &mut output[..kernel.output_len()], scratch)
            }
            MadeOfBytes::Pointwise(kernel, image, residual) => {
                kernel.run(image, residual.as_deref(), &mut output[..kernel.output_len()], scratch)
            }
        }
        .expect("input and output have the kernel's lengths")
    }
}

impl Made {
    /// Runs the kernel once, into the start of `output`.
    pub fn run(&self, output: &mut [f32], scratch: &mut Scratch) {
        match self {
            Made::First(kernel, image) => kernel.run(image, None, &mut output[..kernel.output_len()], scratch),
            Made::Depthwise(kernel, image) => kernel.run(image, &mut output[..kernel.output_len()], scratch),
            Made::Pointwise(kernel, image, residual) => {
                kernel.run(image, residual.as_deref(), &mut output[..kernel.output_len()], scratch)
            }
        }
        .expect("input and output have the kernel's lengths")
    }
}
