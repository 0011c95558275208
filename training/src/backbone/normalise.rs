//! What stands between RGB 0..255 and the numbers that a classifier was trained on.

use std::fmt;
use std::str::FromStr;

use super::IMAGE;
use super::source::Source;
use crate::onnx::GraphWriter;

/// How an image's values 0..255 become a classifier's input: `(x - mean) / std` per channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Normalise {
    /// Nothing when the classifier's graph starts with arithmetic on its input (it normalises by itself), else
    /// [`Normalise::Signed`].
    Auto,
    /// The values 0..255 as they are.
    None,
    /// 0..1.
    Unit,
    /// -1..1.
    Signed,
    /// The mean and standard deviation of ImageNet, as torchvision's classifiers want them.
    ImageNet,
    /// A mean and a standard deviation per channel, on the scale 0..255.
    Custom {
        /// Mean of R, G, B.
        mean: [f32; 3],
        /// Standard deviation of R, G, B, above 0.
        std: [f32; 3],
    },
}

impl Normalise {
    pub(crate) fn chosen_for(self, source: &Source) -> Self {
        if self != Normalise::Auto {
            return self;
        }
        let arithmetic = |op: &str| matches!(op, "Sub" | "Mul" | "Div" | "Add" | "BatchNormalization");
        let own = source.readers(IMAGE).any(|node| arithmetic(&node.op_type));
        if own { Normalise::None } else { Normalise::Signed }
    }

    /// Appends the normalisation of `image`, and returns the name of the normalised tensor.
    pub(super) fn write(&self, graph: &mut GraphWriter) -> String {
        let Some((mean, std)) = self.mean_and_std() else {
            return IMAGE.to_owned();
        };
        let mean = graph.f32("normalise/mean", &[1, 3, 1, 1], &mean);
        let factor = graph.f32("normalise/factor", &[1, 3, 1, 1], &std.map(f32::recip));
        let centred = graph.op("Sub", &[IMAGE, &mean], "normalise/centred");
        graph.op("Mul", &[&centred, &factor], "normalise/normalised")
    }

    /// `None` when the values stay as they are.
    fn mean_and_std(&self) -> Option<([f32; 3], [f32; 3])> {
        match self {
            Normalise::Auto | Normalise::None => None,
            Normalise::Unit => Some(([0.0; 3], [255.0; 3])),
            Normalise::Signed => Some(([127.5; 3], [127.5; 3])),
            Normalise::ImageNet => Some(([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])),
            Normalise::Custom { mean, std } => Some((*mean, *std)),
        }
    }
}

impl fmt::Display for Normalise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f32; 3]| values.map(|value| value.to_string()).join(",");
        match self {
            Normalise::Auto => f.write_str("auto"),
            Normalise::None => f.write_str("none"),
            Normalise::Unit => f.write_str("unit"),
            Normalise::Signed => f.write_str("signed"),
            Normalise::ImageNet => f.write_str("imagenet"),
            Normalise::Custom { mean, std } => write!(f, "{}/{}", list(mean), list(std)),
        }
    }
}

impl FromStr for Normalise {
    type Err = String;

    /// One of the names, or `MR,MG,MB/SR,SG,SB`: means and standard deviations on the scale 0..255.
    fn from_str(text: &str) -> Result<Self, String> {
        let three = |list: &str| -> Option<[f32; 3]> {
            let values = list.split(',').map(|value| value.trim().parse().ok()).collect::<Option<Vec<f32>>>()?;
            <[f32; 3]>::try_from(values).ok().filter(|values| values.iter().all(|value| value.is_finite()))
        };
        let custom = || {
            let (mean, std) = text.split_once('/')?;
            let (mean, std) = (three(mean)?, three(std)?);
            std.iter().all(|&value| value > 0.0).then_some(Normalise::Custom { mean, std })
        };
        match text {
            "auto" => Ok(Normalise::Auto),
            "none" => Ok(Normalise::None),
            "unit" => Ok(Normalise::Unit),
            "signed" => Ok(Normalise::Signed),
            "imagenet" => Ok(Normalise::ImageNet),
            _ => custom().ok_or_else(|| {
                format!(
                    "'{text}' is not a normalisation: use auto, none, unit (0..1), signed (-1..1), imagenet, or \
                     means/deviations on the scale 0..255 such as 123.7,116.3,103.5/58.4,57.1,57.4"
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_back() {
        for text in ["auto", "none", "unit", "signed", "imagenet", "1,2.5,3/4,5,6"] {
            assert_eq!(text.parse::<Normalise>().unwrap().to_string(), text);
        }
        for text in ["", "Signed", "1,2,3", "1,2/3,4", "1,2,3/0,1,1", "1,2,3/nan,1,1"] {
            assert!(text.parse::<Normalise>().unwrap_err().contains(text));
        }
    }
}
