//! Adam (Kingma and Ba, 2015) on one parameter.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Keeps the denominator above 0.
const EPSILON: f32 = 1e-8;

/// The optimizer's memory of one parameter.
#[derive(Debug, Clone)]
pub struct Adam<B: Backend> {
    /// Decaying mean of the gradients.
    pub first: Tensor<B, 2>,
    /// Decaying mean of their squares.
    pub second: Tensor<B, 2>,
    /// Updates so far; a parameter without gradient (the intra-class mixture in the first stage) stands still.
    pub updates: usize,
}

/// What one update needs besides the gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub learning_rate: f32,
    /// The decay rates.
    pub betas: (f32, f32),
    /// The L2 penalty's factor, added to the gradient.
    pub weight_decay: f32,
}

impl<B: Backend> Adam<B> {
    /// No memory yet of `parameter`.
    pub fn new(parameter: &Tensor<B, 2>) -> Self {
        Adam { first: parameter.zeros_like(), second: parameter.zeros_like(), updates: 0 }
    }

    /// The parameter after one update along `gradient`.
    pub fn update(&mut self, parameter: Tensor<B, 2>, gradient: Tensor<B, 2>, rates: &Rates) -> Tensor<B, 2> {
        let (beta1, beta2) = rates.betas;
        self.updates += 1;
        let gradient = match rates.weight_decay {
            0.0 => gradient,
            decay => gradient + parameter.clone() * decay,
        };
        let take = |moment: &mut Tensor<B, 2>| std::mem::replace(moment, Tensor::empty([1, 1], &parameter.device()));
        self.first = take(&mut self.first) * beta1 + gradient.clone() * (1.0 - beta1);
        self.second = take(&mut self.second) * beta2 + gradient.clone() * gradient * (1.0 - beta2);

        let unbias = |beta: f32| 1.0 - f64::from(beta).powi(self.updates as i32);
        let step = f64::from(rates.learning_rate) / unbias(beta1);
        let spread = (self.second.clone() / unbias(beta2)).sqrt() + EPSILON;
        parameter - (self.first.clone() / spread) * step
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;

    #[test]
    fn two_updates_are_those_of_the_paper() {
        let device = Default::default();
        let scalar = |value: f32| Tensor::<Flex, 2>::from_data([[value]], &device);
        let rates = Rates { learning_rate: 0.1, betas: (0.9, 0.99), weight_decay: 0.0 };
        let mut adam = Adam::new(&scalar(1.0));
        // The first update always has the size of the learning rate.
        let once = adam.update(scalar(1.0), scalar(3.0), &rates);
        assert!((once.clone().into_scalar() - 0.9).abs() < 1e-6);
        // m = 0.1 * (0.9 * 3 - 1) = 0.17, over 1 - 0.81; v = 0.01 * (0.99 * 9 + 1) = 0.0991, over 1 - 0.9801.
        let expected = 0.9 - 0.1 * (0.17 / 0.19) / (0.0991f32 / 0.0199).sqrt();
        let twice = adam.update(once, scalar(-1.0), &rates);
        assert!((twice.into_scalar() - expected).abs() < 1e-6);
    }

    #[test]
    fn weight_decay_pulls_to_zero() {
        let device = Default::default();
        let rates = Rates { learning_rate: 0.1, betas: (0.9, 0.99), weight_decay: 0.5 };
        let parameter = Tensor::<Flex, 2>::from_data([[2.0, -2.0]], &device);
        let after = Adam::new(&parameter).update(parameter.clone(), parameter.zeros_like(), &rates);
        let values = after.into_data().to_vec::<f32>().unwrap();
        assert!((values[0] - 1.9).abs() < 1e-5 && (values[1] + 1.9).abs() < 1e-5);
    }
}
