//! What the PyTorch versions of EfficientNet-Lite call their tensors, and how else they differ.

use super::super::state_dict::StateDict;

/// How a network pads pictures before a strided convolution, and what comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Padding {
    /// As TensorFlow: more at the bottom and at the right. Batch norms add 0.001, and pixels are -1..1: efficientnet_lite_pytorch, and
    /// `tf_efficientnet_lite*` of timm and geffnet.
    Same,
    /// As much on all sides. Batch norms add 0.00001, and pixels are normalised as ImageNet's: `efficientnet_lite*` of timm and geffnet.
    Symmetric,
}

impl Padding {
    /// What a batch norm adds to the variance.
    pub fn epsilon(self) -> f64 {
        match self {
            Padding::Same => 1e-3,
            Padding::Symmetric => 1e-5,
        }
    }

    /// Mean and standard deviation of the pixels 0..255 that the network was trained with.
    pub fn pixels(self, naming: Naming) -> ([f32; 3], [f32; 3]) {
        match (self, naming) {
            (Padding::Same, Naming::Package) => ([127.0; 3], [128.0; 3]),
            (Padding::Same, Naming::Timm) => ([127.5; 3], [127.5; 3]),
            (Padding::Symmetric, _) => ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        }
    }

    /// Pixels at the top, left, bottom and right, for sides that the stride divides.
    pub fn pads(self, kernel: usize, stride: usize) -> [i64; 4] {
        let all = kernel.saturating_sub(stride) as i64;
        match self {
            Padding::Same => [all / 2, all / 2, all - all / 2, all - all / 2],
            Padding::Symmetric => [(kernel / 2) as i64; 4],
        }
    }
}

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The package efficientnet_lite_pytorch.
    Package,
    /// timm and geffnet.
    Timm,
}

/// A convolution of the network.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    Stem,
    Expand,
    Depthwise,
    Project,
}

/// Where a block stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub stage: usize,
    pub block: usize,
    /// Counted through all stages.
    pub number: usize,
    /// Whether it is wider inside.
    pub expands: bool,
}

impl Naming {
    pub(super) fn of(weights: &StateDict) -> Option<Self> {
        let stems = [("_conv_stem.weight", Naming::Package), ("conv_stem.weight", Naming::Timm)];
        stems.into_iter().find(|(stem, _)| weights.contains_key(*stem)).map(|(_, naming)| naming)
    }

    /// How the network pads, where the names tell.
    pub fn padding(self) -> Option<Padding> {
        match self {
            Naming::Package => Some(Padding::Same),
            Naming::Timm => None,
        }
    }

    /// The names of a convolution and of the batch norm behind it.
    pub fn layer(self, part: Part, at: Place) -> (String, String) {
        let (block, conv, norm) = match (self, part) {
            (Naming::Package, Part::Stem) => return ("_conv_stem".into(), "_bn0".into()),
            (Naming::Timm, Part::Stem) => return ("conv_stem".into(), "bn1".into()),
            (Naming::Package, part) => (format!("_blocks.{}", at.number), package(part).0, package(part).1),
            (Naming::Timm, part) => {
                let (conv, norm) = timm(part, at.expands);
                (format!("blocks.{}.{}", at.stage, at.block), conv, norm)
            }
        };
        (format!("{block}.{conv}"), format!("{block}.{norm}"))
    }
}

fn package(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Stem | Part::Expand => ("_expand_conv", "_bn0"),
        Part::Depthwise => ("_depthwise_conv", "_bn1"),
        Part::Project => ("_project_conv", "_bn2"),
    }
}

/// timm numbers a block's batch norms by their order, and calls the last convolution otherwise where nothing was widened.
fn timm(part: Part, expands: bool) -> (&'static str, &'static str) {
    match (part, expands) {
        (Part::Stem | Part::Expand, _) => ("conv_pw", "bn1"),
        (Part::Depthwise, true) => ("conv_dw", "bn2"),
        (Part::Depthwise, false) => ("conv_dw", "bn1"),
        (Part::Project, true) => ("conv_pwl", "bn3"),
        (Part::Project, false) => ("conv_pw", "bn2"),
    }
}
