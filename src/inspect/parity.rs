//! The parity gate: this machine must compute what the training host computed before it may decide about parts.

use ndarray::{ArrayBase, Data, Dimension};

use super::Inspector;
use crate::bundle::{Bundle, ParityBound};
use crate::{Error, Result};

impl Inspector {
    /// Scores the bundle's golden frames and compares latents, log-determinants and scores with the training host's.
    /// Gives the largest differences seen.
    ///
    /// # Errors
    ///
    /// A difference exceeds the manifest's bound: the line must not arm.
    pub fn check_parity(&mut self, bundle: &Bundle) -> Result<ParityBound> {
        let bound = bundle.manifest.parity;
        let mut seen = ParityBound { z: 0.0, logdet: 0.0, score: 0.0 };
        for golden in &bundle.golden.frames {
            let latents = self.latents(&golden.image)?;
            for (l, level) in bundle.manifest.levels.iter().enumerate() {
                seen.z = seen.z.max(largest_difference(&latents.z[l], &golden.z[l]));
                let logdet = largest_difference(&latents.logdet[l], &golden.logdet[l]);
                seen.logdet = seen.logdet.max(logdet / level.channels as f32);
            }
            let score = self.inspect(&golden.image, golden.class, &bundle.centers.references[golden.class])?.score;
            seen.score = seen.score.max((score - golden.score).abs());
        }
        let checks = [
            ("latents", seen.z, bound.z),
            ("log-determinants", seen.logdet, bound.logdet),
            ("scores", seen.score, bound.score),
        ];
        match checks.iter().find(|(_, seen, bound)| seen.is_nan() || seen > bound) {
            None => Ok(seen),
            Some((what, seen, bound)) => Err(Error::check(format!(
                "the golden frames' {what} differ by {seen:e} from the training host's, more than {bound:e}: not armed"
            ))
            .advise("this program or processor computes the model wrong: update hgad, or export the bundle again")),
        }
    }
}

fn largest_difference<D: Dimension>(
    a: &ArrayBase<impl Data<Elem = f32>, D>,
    b: &ArrayBase<impl Data<Elem = f32>, D>,
) -> f32 {
    // `f32::max` alone would drop a NaN; the network's outputs are finite, the golden frame's too, but a sum may not be.
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, value| if value.is_nan() { value } else { most.max(value) })
}
