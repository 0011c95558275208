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
                seen.z = larger(seen.z, largest_difference(&latents.z[l], &golden.z[l]));
                let logdet = largest_difference(&latents.logdet[l], &golden.logdet[l]);
                seen.logdet = larger(seen.logdet, logdet / level.channels as f32);
            }
            let score = self.inspect(&golden.image, golden.class, &bundle.centers.references[golden.class])?.score;
            seen.score = larger(seen.score, (score - golden.score).abs());
        }
        let checks = [
            ("latents", seen.z, bound.z),
            ("log-determinants", seen.logdet, bound.logdet),
            ("scores", seen.score, bound.score),
        ];
        match checks.iter().find(|(_, seen, bound)| !within(*seen, *bound)) {
            None => Ok(seen),
            Some((what, seen, bound)) => Err(Error::check(format!(
                "the golden frames' {what} differ by {seen:e} from the training host's, more than {bound:e}: not armed"
            ))
            .advise("this program or processor computes the model wrong: update hgad, or export the bundle again")),
        }
    }
}

/// Whether a difference is one, and no larger than a bound that is one.
fn within(seen: f32, bound: f32) -> bool {
    seen <= bound && bound.is_finite()
}

/// The larger of two; what is not a number is larger than all. (`f32::max` would drop it.)
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

fn largest_difference<D: Dimension>(
    a: &ArrayBase<impl Data<Elem = f32>, D>,
    b: &ArrayBase<impl Data<Elem = f32>, D>,
) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn what_is_not_a_number_never_passes_wherever_it_stands() {
        let golden = array![1.0, 2.0, 3.0];
        assert_eq!(largest_difference(&array![1.5, 2.0, 2.0], &golden), 1.0);
        for place in 0..3 {
            let mut seen = golden.clone();
            seen[place] = f32::NAN;
            assert!(!within(largest_difference(&seen, &golden), 1e9), "at {place}");
        }
        assert!(within(1e-3, 1e-2) && !within(2e-2, 1e-2));
        assert!(!within(0.0, f32::NAN) && !within(0.0, f32::INFINITY) && !within(f32::INFINITY, 1.0));
    }
}
