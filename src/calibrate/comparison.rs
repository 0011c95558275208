//! How a calibration moved against another one.

use std::collections::BTreeMap;
use std::fmt;

use super::{Calibration, threshold};
use crate::print;

/// What stands where a rate does, of a threshold that no rate set.
const NO_RATE: &str = "no rate";

/// What is different between two calibrations of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Each with its name and what it was and is.
    pub rows: Vec<(&'static str, String, String)>,
    /// Images that both were made from: their number, and the mean and the largest change of their scores.
    pub common: Option<(usize, f32, f32)>,
    /// How many of the newer one's normal images the older threshold rejects, if scores can be compared.
    pub rejected_by_older: Option<usize>,
    /// How many of the older one's normal images the newer threshold rejects.
    pub rejected_by_newer: Option<usize>,
}

impl Comparison {
    /// From `older` to `newer`.
    pub fn new(older: &Calibration, newer: &Calibration) -> Self {
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        let row = |name, value: &dyn Fn(&Calibration) -> String| (name, value(older), value(newer));
        let spread = |c: &Calibration| {
            let scores = sorted(c);
            let at = |share: f64| scores.get((share * scores.len() as f64) as usize).copied().unwrap_or(f32::NAN);
            format!("{:.3} / {:.3}", at(0.5), at(0.95))
        };
        let rows = vec![
            row("created", &|c| c.created.clone()),
            row("bundle", &|c| c.bundle.short().to_string()),
            row("images", &|c| c.images_told()),
            row("threshold", &|c| format!("{:.4}", c.threshold)),
            row("set by", &|c| match (c.foreign_threshold(), c.costs) {
                (Some(_), _) => "hand".into(),
                (None, Some(costs)) => costs.to_string(),
                (None, None) => "a rate of false rejects".into(),
            }),
            row("asked for", &|c| match c.promise() {
                None => NO_RATE.into(),
                Some((aim, _)) => {
                    let confidence = aim.confidence.map(|share| format!(", {} confidence", threshold::percent(share)));
                    format!("{}{}", percent(aim.frr), confidence.unwrap_or_default())
                }
            }),
            // What the file promises is of the threshold that its scores give, and not of one that somebody wrote into it.
            row("set to", &|c| {
                let promise = c.promise().filter(|_| c.foreign_threshold().is_none());
                promise.map_or(NO_RATE.into(), |(_, promised)| percent(promised))
            }),
            row("normal parts rejected", &|c| {
                let (rejected, of) = c.rejected_of_own();
                format!("{rejected} of {of}")
            }),
            row("defects found", &|c| {
                c.defects.map_or("-".into(), |found| {
                    let (low, high) = found.rate;
                    format!("{} of {} ({:.1}% to {:.1}%)", found.detected, found.images, 100.0 * low, 100.0 * high)
                })
            }),
            row("scores, median / 95%", &spread),
            row("constants, mean", &|c| numbers(&c.reference.mean)),
            row("constants, deviation", &|c| numbers(&c.reference.deviation)),
            row("mask", &|c| {
                let mask = c.reference.mask.as_ref();
                mask.map_or("none".into(), |mask| {
                    format!("{:.1}% ignored ({})", 100.0 * mask.ignored_share(), mask.digest().short())
                })
            }),
            row("brightness allowed", &|c| {
                let allowed = c.picture.map(|picture| picture.allowed_brightness());
                allowed.map_or("-".into(), |(dark, bright)| format!("{dark:.1} to {bright:.1}"))
            }),
            row("sharpness allowed", &|c| c.picture.map_or("-".into(), |p| format!("from {:.4}", p.sharpness))),
        ];
        let before = older.images.iter().map(|image| (image.sha256, image.score)).collect::<BTreeMap<_, _>>();
        let changes = newer.images.iter().filter_map(|image| Some(image.score - before.get(&image.sha256)?));
        let changes = changes.collect::<Vec<_>>();
        let count = changes.len();
        let comparable = older.same_scores(newer);
        Comparison {
            rows,
            common: (count > 0).then(|| {
                let mean = changes.iter().sum::<f32>() / count as f32;
                (count, mean, changes.into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(f32::NAN))
            }),
            rejected_by_older: comparable.then(|| rejected(newer, older)),
            rejected_by_newer: comparable.then(|| rejected(older, newer)),
        }
    }
}

fn rejected(of: &Calibration, by: &Calibration) -> usize {
    of.images.iter().filter(|image| by.rejects(image.score)).count()
}

fn sorted(calibration: &Calibration) -> Vec<f32> {
    let mut scores = calibration.images.iter().map(|image| image.score).collect::<Vec<_>>();
    scores.sort_by(f32::total_cmp);
    scores
}

fn numbers(values: &[f32]) -> String {
    values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, was, is) in &self.rows {
            let mark = if was == is { " " } else { "*" };
            writeln!(f, "{mark} {name:22}  {was:>34}  {is:>34}")?;
        }
        match self.common {
            None => writeln!(f, "no image is part of both")?,
            Some((count, mean, largest)) => writeln!(
                f,
                "{} part of both; scores changed by {mean:+.3} in the mean, at most by {largest:+.3}",
                print::are(count as u64, "image")
            )?,
        }
        match (self.rejected_by_older, self.rejected_by_newer) {
            (Some(newer), Some(older)) => write!(
                f,
                "the older threshold rejects {newer} of the newer's normal images, the newer one {older} of the older's"
            ),
            _ => f.write_str("the scores are of another model or other constants: thresholds cannot be compared"),
        }
    }
}
