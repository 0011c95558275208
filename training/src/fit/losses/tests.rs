//! The losses against values computed by hand and by their definitions, and their gradients against finite differences.

use burn::backend::{Autodiff, Flex};

use super::*;

type B = Autodiff<Flex>;

const CLASSES: usize = 2;
const D: usize = 3;
const M: usize = 3;
/// Images and positions per image.
const BATCH: (usize, usize) = (2, 2);
const LABELS: [usize; 2] = [1, 0];

/// Everything that the losses depend on, flat.
#[derive(Clone)]
struct Numbers {
    prior: Prior,
    mu: Vec<f32>,
    dmu: Vec<f32>,
    psi: Vec<f32>,
    psi_in: Vec<f32>,
    z: Vec<f32>,
    logdet: Vec<f32>,
}

/// A parameter of the mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Parameter {
    Mu,
    Dmu,
    Psi,
    PsiIn,
    Z,
}

impl Numbers {
    fn some() -> Self {
        let wave = |n: usize, step: f32| (0..n).map(|i| (step * (i + 1) as f32).sin()).collect::<Vec<_>>();
        let rows = BATCH.0 * BATCH.1;
        Numbers {
            prior: Prior::Classes,
            mu: wave(CLASSES * D, 1.3),
            dmu: wave(CLASSES * (M - 1) * D, 2.1),
            psi: wave(CLASSES, 0.7),
            psi_in: wave(CLASSES * M, 1.9),
            z: wave(rows * D, 2.9),
            logdet: wave(rows, 0.4),
        }
    }

    fn of(&mut self, parameter: Parameter) -> &mut Vec<f32> {
        match parameter {
            Parameter::Mu => &mut self.mu,
            Parameter::Dmu => &mut self.dmu,
            Parameter::Psi => &mut self.psi,
            Parameter::PsiIn => &mut self.psi_in,
            Parameter::Z => &mut self.z,
        }
    }

    /// The losses, with the tensors that they were computed from (in the order of [`Parameter`]).
    fn losses(&self) -> (Losses<Tensor<B, 1>>, [Tensor<B, 2>; 5]) {
        let device = Default::default();
        let tensor = |values: &[f32], columns: usize| {
            let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
            Tensor::<B, 2>::from_data(data, &device).require_grad()
        };
        let mixture = MixtureParameters {
            mu: tensor(&self.mu, D),
            dmu: tensor(&self.dmu, (M - 1) * D),
            psi: tensor(&self.psi, CLASSES),
            psi_in: tensor(&self.psi_in, M),
        };
        let z = tensor(&self.z, D);
        let labels = Labels::new(&LABELS, BATCH.1, CLASSES, &device);
        let losses = Losses::new(self.prior, &mixture, z.clone(), tensor(&self.logdet, 1), &labels);
        (losses, [mixture.mu, mixture.dmu, mixture.psi, mixture.psi_in, z])
    }

    fn values(&self) -> [f32; 5] {
        self.losses().0.into_parts().map(|loss| loss.into_scalar())
    }

    /// The gradient of loss number `loss`; empty when nothing flows to the parameter.
    fn gradient(&self, loss: usize, parameter: Parameter) -> Vec<f32> {
        let (losses, tensors) = self.losses();
        let gradients = losses.into_parts()[loss].backward();
        let gradient = tensors[parameter as usize].grad(&gradients);
        gradient.map_or(Vec::new(), |gradient| gradient.into_data().to_vec().unwrap())
    }

    fn slope(&self, loss: usize, parameter: Parameter, i: usize) -> f32 {
        const STEP: f32 = 1e-2;
        let at = |shift: f32| {
            let mut moved = self.clone();
            moved.of(parameter)[i] += shift;
            moved.values()[loss]
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }
}

fn close(actual: f32, expected: f64, what: &str) {
    assert!((f64::from(actual) - expected).abs() < 2e-5, "{what}: {actual}, expected {expected}");
}

#[test]
fn on_coinciding_centers_the_losses_are_what_one_finds_by_hand() {
    let rows = BATCH.0 * BATCH.1;
    let zeros = Numbers {
        prior: Prior::Classes,
        mu: vec![0.0; CLASSES * D],
        dmu: vec![0.0; CLASSES * (M - 1) * D],
        psi: vec![0.0; CLASSES],
        psi_in: vec![0.0; CLASSES * M],
        z: vec![0.0; rows * D],
        logdet: vec![0.6; rows],
    };
    let [likelihood, information, entropy, intra, sigmoid] = zeros.values();
    // Weights that sum to 1 on equal densities exp(0): only the log-determinant remains.
    close(likelihood, -0.2, "L_g");
    close(intra, -0.2, "L_in");
    // The posterior is the prior: it tells nothing of the class.
    close(information, 0.0, "L_mi");
    close(entropy, 2f64.ln(), "L_e");
    // softplus(L_in + log(2 pi) / 2) = ln(1 + exp(0.7189385...))
    close(sigmoid, 1.115_880, "L_z");
}

#[test]
fn the_losses_are_their_definitions() {
    let numbers = Numbers::some();
    let get = |values: &[f32], i: usize| f64::from(values[i]);
    let log_sum_exp = |values: &[f64]| values.iter().map(|v| v.exp()).sum::<f64>().ln();
    let mut sums = [0.0; 5];
    for row in 0..BATCH.0 * BATCH.1 {
        let label = LABELS[row / BATCH.1];
        let logdet = get(&numbers.logdet, row);
        let density = |center: &dyn Fn(usize) -> f64| {
            -0.5 * (0..D).map(|d| (get(&numbers.z, row * D + d) - center(d)).powi(2)).sum::<f64>()
        };
        let main = |y: usize| density(&|d| get(&numbers.mu, y * D + d));
        let psi = (0..CLASSES).map(|y| get(&numbers.psi, y)).collect::<Vec<_>>();
        let c = |y: usize| psi[y] - log_sum_exp(&psi);
        let joint = (0..CLASSES).map(|y| main(y) + c(y)).collect::<Vec<_>>();
        sums[0] += (-log_sum_exp(&joint) - logdet) / D as f64;
        for y in 0..CLASSES {
            let target = if y == label { 0.99 } else { 0.01 };
            sums[1] -= target * (joint[y] - log_sum_exp(&joint) - c(y));
        }
        let mains = (0..CLASSES).map(main).collect::<Vec<_>>();
        sums[2] -= mains.iter().map(|m| (m - log_sum_exp(&mains)).exp() * (m - log_sum_exp(&mains))).sum::<f64>();

        let psi_in = (0..M).map(|i| get(&numbers.psi_in, label * M + i)).collect::<Vec<_>>();
        let inner = (0..M)
            .map(|i| {
                let offset = |d: usize| if i == 0 { 0.0 } else { get(&numbers.dmu, (label * (M - 1) + i - 1) * D + d) };
                density(&|d| get(&numbers.mu, label * D + d) + offset(d)) + psi_in[i] - log_sum_exp(&psi_in)
            })
            .collect::<Vec<_>>();
        let log_p = log_sum_exp(&inner) + logdet;
        sums[3] -= log_p / D as f64;
        let with_constant = log_p / D as f64 - 0.5 * std::f64::consts::TAU.ln();
        sums[4] += (1.0 + (-with_constant).exp()).ln();
    }
    let rows = (BATCH.0 * BATCH.1) as f64;
    for ((actual, sum), name) in numbers.values().into_iter().zip(sums).zip(Losses::<f32>::NAMES) {
        close(actual, sum / rows, name);
    }
}

#[test]
fn with_fixed_centers_the_likelihood_is_that_of_the_own_class() {
    let numbers = Numbers { prior: Prior::FixedCenters, ..Numbers::some() };
    let of_row = |row: usize| {
        let center = LABELS[row / BATCH.1] * D;
        let apart = (0..D).map(|d| f64::from(numbers.z[row * D + d] - numbers.mu[center + d]).powi(2)).sum::<f64>();
        (apart / 2.0 - f64::from(numbers.logdet[row])) / D as f64
    };
    let rows = BATCH.0 * BATCH.1;
    close(numbers.values()[0], (0..rows).map(of_row).sum::<f64>() / rows as f64, "L_g");
    assert!(numbers.gradient(0, Parameter::Mu).is_empty() && numbers.gradient(0, Parameter::Psi).is_empty());
    assert!(numbers.gradient(0, Parameter::Z).iter().all(|slope| *slope != 0.0));
}

#[test]
fn gradients_are_the_slopes_except_where_they_are_stopped() {
    use Parameter::{Dmu, Mu, Psi, PsiIn, Z};
    let numbers = Numbers::some();
    // Loss, and what its gradient must not reach although its value depends on it.
    let stopped = [(1, Psi), (3, Mu), (4, Mu)];
    let mut held = 0;
    for loss in 0..5 {
        for parameter in [Mu, Dmu, Psi, PsiIn, Z] {
            let gradient = numbers.gradient(loss, parameter);
            let slopes = (0..numbers.clone().of(parameter).len()).map(|i| numbers.slope(loss, parameter, i));
            let slopes = slopes.collect::<Vec<_>>();
            if stopped.contains(&(loss, parameter)) {
                assert!(slopes.iter().any(|slope| slope.abs() > 1e-3), "loss {loss} does not depend on {parameter:?}");
                assert!(gradient.iter().all(|value| *value == 0.0), "loss {loss} reaches {parameter:?}: {gradient:?}");
                held += 1;
                continue;
            }
            for (i, slope) in slopes.iter().enumerate() {
                let value = gradient.get(i).copied().unwrap_or(0.0);
                assert!((value - slope).abs() < 2e-3, "loss {loss}, {parameter:?}[{i}]: {value} against {slope}");
            }
        }
    }
    assert_eq!(held, 3);
}

#[test]
fn the_sum_counts_each_loss_with_its_weight_and_leaves_out_those_of_weight_zero() {
    let numbers = Numbers::some();
    let [likelihood, information, entropy, ..] = numbers.values();
    let weights = LossWeights::default().without_intra();
    let (losses, tensors) = numbers.losses();
    let total = losses.total(&weights);
    close(total.clone().into_scalar(), f64::from(likelihood + 5.0 * information + entropy), "sum");
    assert!(tensors[Parameter::Dmu as usize].grad(&total.backward()).is_none());
}
