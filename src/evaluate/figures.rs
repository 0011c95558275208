//! The figures by which a calibrated model is judged.

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Area under the ROC of the images' scores.
    ImageAuroc,
    /// Average precision of the images' scores.
    ImageAp,
    /// Largest F1 score of the images.
    ImageF1Max,
    /// The share of defective images that pass when the threshold rejects at most this share of the good test images.
    MissesAt(f64),
    /// The share of good images that are rejected at the calibrated threshold.
    FalseRejects,
    /// The share of defective images that pass at the calibrated threshold.
    Misses,
    /// Area under the ROC of the maps' pixels.
    PixelAuroc,
    /// Average precision of the pixels.
    PixelAp,
    /// Largest F1 score of the pixels.
    PixelF1Max,
    /// Area under the per-region overlap, up to a false-positive rate of 30%, as a share of that.
    PixelAupro,
}

impl Figure {
    /// All of them, with misses at these false-reject rates.
    pub fn all(rates: &[f64]) -> Vec<Figure> {
        use Figure::*;
        let images = [ImageAuroc, ImageAp, ImageF1Max, FalseRejects, Misses];
        let misses = rates.iter().map(|rate| MissesAt(*rate));
        images.into_iter().chain(misses).chain([PixelAuroc, PixelAp, PixelF1Max, PixelAupro]).collect()
    }

    /// Whether it is a share of parts that are judged wrongly: less is better. Of the others, which are areas, more is.
    pub fn is_rate(self) -> bool {
        matches!(self, Figure::MissesAt(_) | Figure::FalseRejects | Figure::Misses)
    }

    /// Its name in JSON.
    pub fn key(self) -> String {
        match self {
            Figure::ImageAuroc => "image_auroc".into(),
            Figure::ImageAp => "image_ap".into(),
            Figure::ImageF1Max => "image_f1_max".into(),
            Figure::MissesAt(rate) => format!("miss_rate_at_frr_{rate}"),
            Figure::FalseRejects => "false_reject_rate".into(),
            Figure::Misses => "miss_rate".into(),
            Figure::PixelAuroc => "pixel_auroc".into(),
            Figure::PixelAp => "pixel_ap".into(),
            Figure::PixelF1Max => "pixel_f1_max".into(),
            Figure::PixelAupro => "pixel_aupro".into(),
        }
    }
}

/// The values of figures, in the figures' order; none where it is not known, as of pixels without masks.
pub type Values = Vec<Option<f64>>;

/// The mean of every figure over the classes that have it.
pub fn mean(classes: &[Values]) -> Values {
    let figures = 0..classes.first().map_or(0, Vec::len);
    let mean = |figure: usize| {
        let known = classes.iter().filter_map(|values| values[figure]).collect::<Vec<_>>();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    figures.map(mean).collect()
}

/// How much greater each figure is than `other`'s.
pub fn difference(values: &Values, other: &Values) -> Values {
    values.iter().zip(other).map(|(a, b)| Some((*a)? - (*b)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_skip_what_is_not_known() {
        let classes = [vec![Some(0.75), None, None], vec![Some(1.0), Some(0.5), None]];
        assert_eq!(mean(&classes), [Some(0.875), Some(0.5), None]);
        assert_eq!(difference(&classes[1], &classes[0]), [Some(0.25), None, None]);
    }

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let mut keys = Figure::all(&[0.001, 0.01]).into_iter().map(Figure::key).collect::<Vec<_>>();
        assert!(keys.contains(&"miss_rate_at_frr_0.001".to_owned()));
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!((keys.len(), all), (11, 11));
    }
}
