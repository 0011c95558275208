//! Where images and features come from.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::InputSize;

use crate::backbone::{Backbone, Normalise, Taps};

/// The images, and the classifier that gives their features.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// The folder with one folder per product, each with train/good.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The products to learn, in this order [default: all in DATA, by name].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// The classifier that gives the features, as an ONNX file with one RGB image as input.
    #[arg(long, value_name = "FILE")]
    pub backbone: PathBuf,
    /// Where features are taken: tensor names of the backbone, finest first; `auto` takes the last tensor at strides 8
    /// and 16 (what goes into a ReLU rather than what comes out of it); `auto:8,16,32` those at these strides.
    #[arg(long, value_name = "TAPS", default_value = "auto")]
    pub taps: Taps,
    /// What the backbone wants its pixels to be: auto, none (0..255), unit (0..1), signed (-1..1), imagenet, or means and
    /// deviations R,G,B/R,G,B on the scale 0..255.
    #[arg(long, value_name = "HOW", default_value = "auto", allow_hyphen_values = true)]
    pub normalize: Normalise,
    /// The network's input: SIZE x SIZE pixels, or WIDTHxHEIGHT. Finer defects want more; time grows with the area.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: InputSize,
}

impl SourceArgs {
    /// The classifier, cut at its taps.
    ///
    /// # Errors
    ///
    /// As [`Backbone::open`].
    pub fn backbone(&self) -> Result<Backbone> {
        Backbone::open(&self.backbone, self.size, &self.taps, self.normalize.clone())
    }
}

pub fn parse_size(text: &str) -> Result<InputSize, String> {
    let side = |text: &str| text.parse::<usize>().ok().filter(|side| (1..=8192).contains(side));
    let size = match text.split_once('x') {
        None => side(text).map(|side| InputSize { width: side, height: side }),
        Some((width, height)) => side(width).zip(side(height)).map(|(width, height)| InputSize { width, height }),
    };
    size.ok_or_else(|| format!("'{text}' is no image size: give 256 or 320x256, up to 8192"))
}
