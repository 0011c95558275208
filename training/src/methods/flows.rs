//! FastFlow and CFLOW: flows to one standard Gaussian, trained like HGAD's.

use ::hgad::Result;
use ::hgad::bundle::Distance;

use super::{Hgad, Learned, Lesson, Method, Outcome};

/// A flow that was made for one product. Its latents are to become one standard Gaussian, whatever the product: all that
/// tells one product from another here is what distances are usual at their places.
pub struct OneGaussian {
    /// What the manifest calls it.
    pub name: &'static str,
    /// How it is trained; the recipe is [`Recipe::cflow`](crate::fit::Recipe::cflow) or
    /// [`Recipe::fastflow`](crate::fit::Recipe::fastflow) and what the user changed of it.
    pub flows: Hgad,
}

impl Method for OneGaussian {
    /// Trains the flows.
    ///
    /// # Errors
    ///
    /// As [`Device::fit`](crate::fit::Device::fit).
    fn learn(&self, lesson: &Lesson) -> Result<Outcome> {
        Ok(match self.flows.learn(lesson)? {
            Outcome::Learned(learned) => Outcome::Learned(Box::new(self.named(*learned))),
            interrupted => interrupted,
        })
    }
}

impl OneGaussian {
    /// What was learned, under its own name.
    fn named(&self, mut learned: Learned) -> Learned {
        learned.told.insert("method".to_owned(), self.name.into());
        // Likelihood is the only loss.
        learned.figures.truncate(1);
        learned.likelihoods =
            learned.likelihoods.map(|levels| levels.into_iter().map(|[likelihood, _]| [likelihood; 2]).collect());
        learned
    }

    /// What its scores are measured from unless the user says otherwise: its authors measure from the Gaussian's center.
    pub const DISTANCE: Distance = Distance::Centers;
}
