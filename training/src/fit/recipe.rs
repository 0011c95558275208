//! The hyperparameters of a training run.

use hgad::{Error, Result};
use serde::{Deserialize, Serialize};

use super::losses::LossWeights;
use crate::flow::FlowShape;
#[cfg(doc)]
use crate::flow::MixtureParameters;

/// Everything that, besides the features, decides what a training run computes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// What all randomness derives from.
    pub seed: u64,
    /// Passes over the images; in each, an image gives a fresh sample of its positions.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Positions per image and step on a grid of `P` positions: this times the square root of `P`.
    pub positions_per_side: f32,
    /// Flow blocks K.
    pub blocks: usize,
    /// Hidden width of the subnets.
    pub hidden: HiddenWidth,
    /// Width of the position code.
    pub code: usize,
    /// The clamp alpha of the log-scales.
    pub clamp: f32,
    /// Centers M of each class, the main one among them.
    pub centers: usize,
    /// Standard deviation with which the intra-class offsets start.
    pub intra_init: f32,
    /// The losses' weights.
    pub losses: LossWeights,
    /// The largest learning rate.
    pub learning_rate: f32,
    /// Adam's decay rates.
    pub betas: (f32, f32),
    /// Weight decay on the flow.
    pub weight_decay: f32,
    /// What latents are to become.
    #[serde(default, skip_serializing_if = "Prior::is_of_classes")]
    pub prior: Prior,
    /// Whether the subnets of every second block see the 3x3 positions around theirs (FastFlow).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub convolutional: bool,
}

/// What latents are to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// The learned mixture of every class.
    #[default]
    Classes,
    /// One Gaussian for each class, about the center where it starts: [`Losses::likelihood`](super::Losses::likelihood) is that of the
    /// image's own class. Other centers of the class may be learned beside it.
    FixedCenters,
    /// One standard Gaussian for all classes, which is not learned: likelihood is the only loss.
    Standard,
}

impl Prior {
    /// Whether the mixture's parameter of this name ([`MixtureParameters::NAMES`]) is learned.
    pub(super) fn learns(self, parameter: &str) -> bool {
        match self {
            Prior::Classes => true,
            Prior::FixedCenters => matches!(parameter, "dmu" | "psi_in"),
            Prior::Standard => false,
        }
    }

    fn is_of_classes(&self) -> bool {
        *self == Prior::Classes
    }
}

impl Default for Recipe {
    /// The paper's and its authors' values, but for what was measured to be better or as good at less cost: the hidden
    /// width (theirs: `2 (D1 + C)`), the epochs (200), the first offsets (1), the learning rate (2e-4) and lambda2
    /// ([`LossWeights::default`]).
    fn default() -> Self {
        Recipe {
            seed: 0,
            epochs: 40,
            batch: 8,
            positions_per_side: 2.0,
            blocks: 12,
            hidden: HiddenWidth::TwiceChannels,
            code: 256,
            clamp: 1.9,
            centers: 10,
            intra_init: 0.1,
            losses: LossWeights::default(),
            learning_rate: 1e-3,
            betas: (0.95, 0.99),
            weight_decay: 1e-4,
            prior: Prior::Classes,
            convolutional: false,
        }
    }
}

impl Recipe {
    /// The same flow with one standard Gaussian for all classes, by likelihood alone (the slides' SGC).
    pub fn single(self) -> Self {
        let losses = LossWeights { likelihood: 1.0, information: 0.0, entropy: 0.0, intra: 0.0, sigmoid: 0.0 };
        Recipe { centers: 2, losses, prior: Prior::Standard, ..self }
    }

    /// A flow that was made for one product, with one standard Gaussian; its authors' sizes, but for the hidden width `hidden`.
    fn of_one_gaussian(hidden: HiddenWidth) -> Self {
        Recipe { blocks: 8, hidden, ..Recipe::default() }.single()
    }

    /// CFLOW (Gudovskiy et al., WACV 2022): coupling blocks that are told the position, by a code of 128 channels.
    pub fn cflow() -> Self {
        Recipe { code: 128, ..Self::of_one_gaussian(HiddenWidth::TwiceChannels) }
    }

    /// FastFlow (Yu et al., 2021): coupling blocks over the whole grid, whose layers are convolutions of 3x3 and 1x1 in turn; the hidden
    /// layer is as wide as what goes into it.
    pub fn fastflow() -> Self {
        Recipe { code: 0, clamp: 2.0, convolutional: true, ..Self::of_one_gaussian(HiddenWidth::Paper) }
    }
}

impl Recipe {
    /// Whether training can start from these numbers.
    ///
    /// # Errors
    ///
    /// One of them makes no sense; the error names it.
    pub fn check(&self) -> Result<()> {
        let losses = self.losses;
        let positive = [
            ("learning rate", self.learning_rate),
            ("number of positions per side", self.positions_per_side),
            ("clamp", self.clamp),
        ];
        let not_negative = [
            ("spread of the first offsets", self.intra_init),
            ("weight decay", self.weight_decay),
            ("weight lambda1", losses.likelihood),
            ("weight lambda2", losses.information),
        ];
        let wrong = |name: &str, value: f32, wanted: &str| {
            Err(Error::usage(format!("the {name} is {value}: it must be {wanted}")))
        };
        for (name, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return wrong(name, value, "above 0");
            }
        }
        for (name, value) in not_negative {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(name, value, "0 or more");
            }
        }
        let first_stage = losses.without_intra();
        if [first_stage.likelihood, first_stage.information, first_stage.entropy].iter().all(|weight| *weight == 0.0) {
            return Err(Error::usage("no loss is left that the first stage could learn by")
                .advise("give lambda1 or lambda2 a weight above 0, or leave the entropy loss in"));
        }
        Ok(())
    }

    /// Whether centers beside the main ones are learned.
    pub fn learns_offsets(&self) -> bool {
        self.losses.intra != 0.0 || self.losses.sigmoid != 0.0
    }

    /// Whether the likelihood that is learned is that of an image's own class, and not of all classes together.
    pub fn knows_labels(&self) -> bool {
        self.prior != Prior::Classes || self.learns_offsets()
    }

    /// The flow's sizes on a level of `channels` channels.
    pub fn flow_shape(&self, channels: usize) -> FlowShape {
        let kept = channels - channels / 2;
        let hidden = match self.hidden {
            HiddenWidth::TwiceChannels => 2 * channels,
            HiddenWidth::Paper if self.convolutional => kept,
            HiddenWidth::Paper => 2 * (kept + self.code),
            HiddenWidth::Fixed(hidden) => hidden,
        };
        FlowShape { channels, code: self.code, hidden, blocks: self.blocks, convolutional: self.convolutional }
    }

    /// How many positions of an image on a grid of `grid` (rows, columns) go into a step.
    pub fn positions(&self, grid: (usize, usize)) -> usize {
        let all = grid.0 * grid.1;
        if self.convolutional {
            return all;
        }
        ((self.positions_per_side * (all as f32).sqrt()).round() as usize).clamp(1, all)
    }
}

/// How the hidden width of the subnets follows from the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenWidth {
    /// `2 D`: several times faster than the authors' width, at no cost that was measurable.
    TwiceChannels,
    /// The authors' `2 (D1 + C)`; FastFlow's is `D1`.
    Paper,
    /// This width on every level.
    Fixed(usize),
}

impl std::str::FromStr for HiddenWidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "2D" | "2d" => Ok(HiddenWidth::TwiceChannels),
            "paper" => Ok(HiddenWidth::Paper),
            number => match number.parse() {
                Ok(width) if width > 0 => Ok(HiddenWidth::Fixed(width)),
                _ => Err(format!("'{text}' is neither 2D, paper, nor a width above 0")),
            },
        }
    }
}

impl std::fmt::Display for HiddenWidth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HiddenWidth::TwiceChannels => f.write_str("2D"),
            HiddenWidth::Paper => f.write_str("paper"),
            HiddenWidth::Fixed(width) => write!(f, "{width}"),
        }
    }
}
