//! What changes from step to step: the learning rate and the losses that take part.

use super::losses::LossWeights;

/// A run's course: `2/25` of the steps warm up the learning rate and leave the intra-class mixture out, as the authors'
/// first 2 of 25 epochs do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Steps in all.
    pub steps: usize,
    /// The largest learning rate.
    pub learning_rate: f32,
    /// The losses' weights once all of them take part.
    pub losses: LossWeights,
}

impl Schedule {
    /// Steps of the first stage.
    pub fn first_stage(&self) -> usize {
        (self.steps * 2).div_ceil(25)
    }

    /// The learning rate of `step`: rising linearly in the first stage, then falling to 0 as a half cosine.
    pub fn learning_rate(&self, step: usize) -> f32 {
        let warm = self.first_stage();
        if step < warm {
            return self.learning_rate * (step + 1) as f32 / warm as f32;
        }
        let progress = (step - warm) as f64 / (self.steps - warm).max(1) as f64;
        self.learning_rate * (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())) as f32
    }

    /// The losses' weights in `step`.
    pub fn losses(&self, step: usize) -> LossWeights {
        if step < self.first_stage() { self.losses.without_intra() } else { self.losses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_for_two_of_twentyfive_steps_then_falls_to_nothing() {
        let schedule = Schedule { steps: 1000, learning_rate: 1.0, losses: LossWeights::default() };
        assert_eq!(schedule.first_stage(), 80);
        assert_eq!(schedule.learning_rate(39), 0.5);
        assert_eq!(schedule.learning_rate(79), 1.0);
        assert_eq!(schedule.learning_rate(80), 1.0);
        assert!((schedule.learning_rate(540) - 0.5).abs() < 1e-6);
        assert!(schedule.learning_rate(999) < 1e-5);
    }

    #[test]
    fn the_intra_class_losses_join_in_the_second_stage() {
        let schedule = Schedule { steps: 25, learning_rate: 1.0, losses: LossWeights::default() };
        assert_eq!((schedule.losses(1).intra, schedule.losses(1).sigmoid), (0.0, 0.0));
        assert_eq!(schedule.losses(2), LossWeights::default());
    }
}
