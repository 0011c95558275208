//! Small networks of random weights, against plain loops over their definition.

use ndarray::Array3;

use super::super::state_dict::Tensor;
use super::super::{Backbone, Normalise, Taps};
use super::*;
use crate::export::tests::Random;
use crate::onnx::encode;
use hgad::bundle::InputSize;

/// Few channels and blocks, and still repeated ones.
const SMALL: Lite = Lite { width: 0.3, depth: 0.6 };
const SIZE: usize = 64;

/// Random weights under the names of `naming`.
fn weights(lite: Lite, naming: Naming) -> StateDict {
    let mut random = Random::new(5);
    let mut weights = StateDict::new();
    let mut layer = |(conv, norm): (String, String), shape: [usize; 4]| {
        let mut some = |count: usize, least: f32, most: f32| -> Vec<f32> {
            (0..count).map(|_| least + (most - least) * (0.5 + 0.5 * random.uniform(-1.0, 1.0))).collect()
        };
        let count = shape.iter().product::<usize>();
        let scale = 1.5 / ((count / shape[0]) as f32).sqrt();
        weights.insert(format!("{conv}.weight"), Tensor { shape: shape.to_vec(), values: some(count, -scale, scale) });
        for (what, least, most) in
            [("weight", 0.5, 2.0), ("bias", -0.5, 1.0), ("running_mean", -0.3, 0.3), ("running_var", 0.2, 1.0)]
        {
            weights.insert(
                format!("{norm}.{what}"),
                Tensor { shape: vec![shape[0]], values: some(shape[0], least, most) },
            );
        }
    };
    for_each_layer(lite, |part, at, _, shape| layer(naming.layer(part, at), shape));
    weights
}

/// Calls with every convolution, its stride and the shape of its weights.
fn for_each_layer(lite: Lite, mut visit: impl FnMut(names::Part, names::Place, usize, [usize; 4])) {
    use names::{Part, Place};
    let (mut before, mut number) = (STEM, 0);
    visit(Part::Stem, Place { stage: 0, block: 0, number: 0, expands: false }, 2, [STEM, 3, 3, 3]);
    for (stage, of) in lite.stages().iter().enumerate() {
        for block in 0..of.repeats {
            let at = Place { stage, block, number, expands: of.expansion > 1 };
            let inside = before * of.expansion;
            if at.expands {
                visit(Part::Expand, at, 1, [inside, before, 1, 1]);
            }
            visit(Part::Depthwise, at, if block == 0 { of.stride } else { 1 }, [inside, 1, of.kernel, of.kernel]);
            visit(Part::Project, at, 1, [of.channels, inside, 1, 1]);
            before = of.channels;
            number += 1;
        }
    }
}

/// A convolution by its definition: `pad` rows and columns of zeros at the top and left, as many as are needed at the others.
fn convolved(input: &Array3<f32>, weights: &Tensor, stride: usize, pad: usize) -> Array3<f32> {
    let [outputs, inputs, kernel, _] = weights.shape[..] else { panic!() };
    let (channels, height, width) = input.dim();
    let of_group = outputs / (channels / inputs);
    Array3::from_shape_fn((outputs, height / stride, width / stride), |(o, y, x)| {
        let mut sum = 0.0;
        for i in 0..inputs {
            for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                let (row, column) = ((y * stride + ky).wrapping_sub(pad), (x * stride + kx).wrapping_sub(pad));
                if let Some(value) = input.get((o / of_group * inputs + i, row, column)) {
                    sum += value * weights.values[((o * inputs + i) * kernel + ky) * kernel + kx];
                }
            }
        }
        sum
    })
}

/// What the network makes of `image` behind every block.
fn reference(
    lite: Lite,
    weights: &StateDict,
    naming: Naming,
    padding: Padding,
    image: &Array3<f32>,
) -> Vec<Array3<f32>> {
    let (mean, std, epsilon) = match padding {
        Padding::Same if naming == Naming::Package => (127.0, [128.0; 3], 1e-3f32),
        Padding::Same => (127.5, [127.5; 3], 1e-3),
        Padding::Symmetric => (0.0, [58.395, 57.12, 57.375], 1e-5),
    };
    let mut tensor = Array3::from_shape_fn(image.dim(), |(c, y, x)| {
        let mean = if padding == Padding::Symmetric { [123.675, 116.28, 103.53][c] } else { mean };
        (image[[c, y, x]] - mean) / std[c]
    });
    let (mut outputs, mut entering) = (Vec::new(), tensor.clone());
    for_each_layer(lite, |part, at, stride, shape| {
        let (conv, norm) = naming.layer(part, at);
        if !at.expands && matches!(part, names::Part::Depthwise) || matches!(part, names::Part::Expand) {
            entering = tensor.clone();
        }
        let pad = match padding {
            Padding::Same => (shape[2] - stride.min(shape[2])) / 2,
            Padding::Symmetric => shape[2] / 2,
        };
        let mut output = convolved(&tensor, &weights[&format!("{conv}.weight")], stride, pad);
        let of = |what: &str, c: usize| weights[&format!("{norm}.{what}")].values[c];
        output.indexed_iter_mut().for_each(|((c, ..), value)| {
            *value = (*value - of("running_mean", c)) / (of("running_var", c) + epsilon).sqrt() * of("weight", c)
                + of("bias", c);
            if !matches!(part, names::Part::Project) {
                *value = value.clamp(0.0, 6.0);
            }
        });
        if matches!(part, names::Part::Project) {
            if at.block > 0 {
                output += &entering;
            }
            outputs.push(output.clone());
        }
        tensor = output;
    });
    outputs
}

#[test]
fn imported_networks_compute_what_their_definition_says() {
    let mut random = Random::new(9);
    let image = Array3::from_shape_simple_fn((3, SIZE, SIZE), || 127.5 + 127.5 * random.uniform(-1.0, 1.0));
    let folder = tempfile::tempdir().unwrap();
    let cases =
        [(Naming::Package, None), (Naming::Timm, Some(Padding::Same)), (Naming::Timm, Some(Padding::Symmetric))];
    for (naming, padding) in cases {
        let weights = weights(SMALL, naming);
        let file = folder.path().join("weights.safetensors");
        std::fs::write(&file, super::super::state_dict::tests::safetensors(&weights)).unwrap();
        let (model, digest) = SMALL.import(&file, padding).unwrap();
        assert_eq!(digest, Digest::of(std::fs::read(&file).unwrap()));
        let onnx = folder.path().join("small.onnx");
        std::fs::write(&onnx, encode(&model)).unwrap();

        let size = InputSize { width: SIZE, height: SIZE };
        let taps = Taps::Auto(vec![4, 8, 16, 32]);
        let backbone = Backbone::open(&onnx, size, &taps, Normalise::Auto).unwrap();
        assert_eq!(backbone.normalise, Normalise::None, "the file normalises by itself");
        let names = backbone.taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        let told = SMALL.taps().into_iter().map(|(_, name, _)| name).skip(1).collect::<Vec<_>>();
        assert_eq!(names, told, "auto finds the taps that are told");

        let batch = image.to_shape((1, 3, SIZE, SIZE)).unwrap().to_owned();
        let seen = backbone.runner().unwrap().run(batch).unwrap();
        let blocks = reference(SMALL, &weights, naming, padding.unwrap_or(Padding::Same), &image);
        let ends = SMALL.stages().map(|stage| stage.repeats);
        let ends = ends.iter().scan(0, |end, repeats| {
            *end += repeats;
            Some(*end - 1)
        });
        let ends = ends.collect::<Vec<_>>();
        for (seen, end) in seen.iter().zip([ends[1], ends[2], ends[4], ends[6]]) {
            let expected = &blocks[end];
            let spread = expected.std(0.0);
            let farthest = (seen - expected).fold(0f32, |most, value| most.max(value.abs()));
            assert!(spread > 0.1 && farthest < 1e-3 * spread, "{naming:?} {padding:?}: {farthest} of {spread}");
        }
    }
}

#[test]
fn weights_of_another_network_are_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (bigger, smaller) = (Lite { depth: 1.0, ..SMALL }, Lite { depth: 0.3, ..SMALL });
    let mut damaged = weights(SMALL, Naming::Package);
    damaged.get_mut("_bn0.running_var").unwrap().values[3] = f32::NAN;
    let mut other = StateDict::new();
    other.insert("layer1.weight".into(), Tensor { shape: vec![1], values: vec![0.0] });
    let cases = [
        (weights(bigger, Naming::Timm), Some(Padding::Same), "which this network has not"),
        (weights(smaller, Naming::Timm), Some(Padding::Same), "it has no tensor blocks.1.1"),
        (weights(SMALL, Naming::Timm), None, "--padding same for tf_efficientnet_lite*"),
        (weights(Lite { width: 0.6, ..SMALL }, Naming::Package), None, "not ["),
        (damaged, None, "_bn0.running_var is not finite"),
        (other, None, "not those of an EfficientNet-Lite (they are: layer1.weight"),
    ];
    for (weights, padding, says) in cases {
        let file = folder.path().join("weights.safetensors");
        std::fs::write(&file, super::super::state_dict::tests::safetensors(&weights)).unwrap();
        let report = SMALL.import(&file, padding).unwrap_err().report();
        assert!(report.contains(says) && report.contains("weights.safetensors"), "{report}");
    }
}
