//! The backbones that lie beside the checkout, and small ones built here.

use std::path::PathBuf;

use ndarray::Array4;
use tract_onnx::pb::{AttributeProto, GraphProto};
use tract_onnx::prelude::*;

use super::*;
use crate::export::tests::Random;
use crate::onnx::{GraphWriter, encode, float_value, int, ints};

/// A pretrained classifier beside the checkout, where there is one.
pub(crate) fn real_backbone(name: &str) -> Option<PathBuf> {
    crate::beside::shared(&format!("backbones/{name}"))
}

const SIZE: InputSize = InputSize { width: 256, height: 256 };

#[test]
fn real_backbones_open_at_their_automatic_taps() {
    struct Case {
        file: &'static str,
        normalise: Normalise,
        taps: &'static [(&'static str, usize, usize, usize)],
    }
    let cases = [
        Case {
            file: "mobilenet_v2_features.onnx",
            normalise: Normalise::Signed,
            taps: &[("t130", 32, 32, 8), ("t156", 96, 16, 16)],
        },
        Case {
            file: "efficientnet_lite0.onnx",
            normalise: Normalise::None,
            taps: &[("stage2.1", 40, 32, 8), ("stage4.2", 112, 16, 16)],
        },
        Case {
            file: "efficientnet_lite2.onnx",
            normalise: Normalise::None,
            taps: &[("stage2.2", 48, 32, 8), ("stage4.3", 120, 16, 16)],
        },
        Case {
            file: "squeezenet_v1.0.onnx",
            normalise: Normalise::Signed,
            taps: &[("fire8/concat_52", 512, 31, 8), ("fire9/concat_60", 512, 15, 16)],
        },
    ];
    for case in cases {
        let Some(path) = real_backbone(case.file) else { continue };
        let backbone = Backbone::open(&path, SIZE, &Taps::Auto(vec![8, 16]), Normalise::Auto).unwrap();
        assert_eq!(backbone.normalise, case.normalise, "{}", case.file);
        let taps = backbone.taps.iter().map(|t| (t.name.as_str(), t.channels, t.height, t.stride)).collect::<Vec<_>>();
        assert_eq!(taps, case.taps, "{}", case.file);
        let features = backbone.runner().unwrap().run(Array4::from_elem((1, 3, 256, 256), 100.0)).unwrap();
        for (tap, output) in backbone.taps.iter().zip(&features) {
            assert_eq!(output.dim(), (tap.channels, tap.height, tap.width));
        }
    }
}

/// A network with what real ones are made of: strided and depthwise convolutions, batch normalisation, a bounded ReLU, a
/// residual sum, a concatenation, a pooling, and a head that the features do not need.
fn synthetic(opset: i64) -> ModelProto {
    let mut random = Random::new(3);
    let mut graph = GraphWriter::default();
    let mut conv =
        |graph: &mut GraphWriter, x: &str, name: &str, [inputs, outputs, kernel, stride, group]: [usize; 5]| {
            let weights = random.matrix(outputs, inputs / group * kernel * kernel, 1.0 / kernel as f32);
            let w = graph.f32(format!("{name}.w"), &[outputs, inputs / group, kernel, kernel], &weights);
            let b = graph.f32(format!("{name}.b"), &[outputs], &random.vector(outputs, 0.0, 0.2));
            let attributes = vec![
                ints("kernel_shape", &[kernel as i64; 2]),
                ints("strides", &[stride as i64; 2]),
                ints("pads", &[(kernel / 2) as i64; 4]),
                int("group", group as i64),
            ];
            graph.op_with("Conv", &[x, &w, &b], name, attributes)
        };
    let stem = conv(&mut graph, "rgb", "stem", [3, 8, 3, 2, 1]);
    let statistics = [1.1, 0.1, 0.2, 0.9].map(|value| vec![value; 8]);
    let names = ["gamma", "beta", "mu", "var"];
    let names = [0, 1, 2, 3].map(|i| graph.f32(names[i], &[8], &statistics[i]));
    let stem = graph.op("BatchNormalization", &[&stem, &names[0], &names[1], &names[2], &names[3]], "stem.norm");
    let stem = clip(&mut graph, opset, &stem, "stem.relu6");
    let pooling = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let pooled = graph.op_with("MaxPool", &[&stem], "pool", pooling);
    let a = conv(&mut graph, &pooled, "a", [8, 6, 1, 2, 1]);
    let b = conv(&mut graph, &pooled, "b", [8, 6, 3, 2, 1]);
    let both = graph.op_with("Concat", &[&a, &b], "both", vec![int("axis", 1)]);
    let depthwise = conv(&mut graph, &both, "depthwise", [12, 12, 3, 1, 12]);
    let sum = graph.op("Add", &[&both, &depthwise], "sum");
    let wide = conv(&mut graph, &sum, "wide", [12, 48, 1, 1, 1]);
    let wide = graph.op("Relu", &[&wide], "wide.relu");
    let next = conv(&mut graph, &wide, "next", [48, 20, 3, 2, 1]);
    let dropped = graph.op("Dropout", &[&next], "dropped");
    let tail = graph.op("Relu", &[&dropped], "tail");
    let mean = graph.op("GlobalAveragePool", &[&tail], "mean");
    let scores = graph.op_with("ArgMax", &[&mean], "class", vec![int("axis", 1)]);
    graph.finish(opset, vec![float_value("rgb", &[1, 3, 64, 96])], vec![float_value(scores, &[])])
}

fn clip(graph: &mut GraphWriter, opset: i64, x: &str, name: &str) -> String {
    if opset < 11 {
        let bound = |name: &str, f| AttributeProto { name: name.to_owned(), f, r#type: 1, ..AttributeProto::default() };
        return graph.op_with("Clip", &[x], name, vec![bound("min", 0.0), bound("max", 6.0)]);
    }
    let [zero, six] = [("zero", 0.0), ("six", 6.0)].map(|(name, value)| graph.f32(name, &[], &[value]));
    graph.op("Clip", &[x, &zero, &six], name)
}

const SMALL: InputSize = InputSize { width: 96, height: 64 };

fn write(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("net.onnx");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_cut_graph_computes_the_inner_tensors_of_the_whole_network() {
    let folder = tempfile::tempdir().unwrap();
    let image = Random::new(1).matrix(3 * 64, 96, 60.0).into_shape_with_order((1, 3, 64, 96)).unwrap();
    let mut by_opset = Vec::new();
    for opset in [9, 12, 13, 18] {
        let path = write(folder.path(), &encode(&synthetic(opset)));
        let taps = "auto:8,16".parse::<Taps>().unwrap();
        let backbone = Backbone::open(&path, SMALL, &taps, Normalise::Signed).unwrap();
        let found = backbone.taps.iter().map(|t| (&*t.name, t.channels, t.height, t.width, t.stride));
        assert_eq!(found.collect::<Vec<_>>(), [("sum", 12, 8, 12, 8), ("next", 20, 4, 6, 16)]);
        let graph = backbone.graph.graph.as_ref().unwrap();
        assert!(graph.node.iter().all(|node| node.op_type != "ArgMax" && node.op_type != "GlobalAveragePool"));
        by_opset.push(backbone.runner().unwrap().run(image.clone()).unwrap());
    }
    // The whole network, not cut, on an input that was normalised outside: tract keeps every tensor it is asked for.
    let whole = synthetic(18);
    let expected = ["sum", "next"].map(|tensor| {
        let mut model = tract_onnx::onnx().parse(&whole, None).unwrap().model;
        model.set_input_fact(0, f32::fact([1, 3, 64, 96]).into()).unwrap();
        model.select_outputs_by_name([tensor]).unwrap();
        let normalised = tract_onnx::prelude::Tensor::from(image.mapv(|value| value / 127.5 - 1.0));
        let plan = model.into_typed().unwrap().into_runnable().unwrap();
        plan.run(tvec!(normalised.into())).unwrap().remove(0).into_tensor().into_plain_array::<f32>().unwrap()
    });
    for outputs in &by_opset {
        for (output, expected) in outputs.iter().zip(&expected) {
            let difference = output.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
            assert!(difference < 1e-5 * largest, "{difference} of {largest}");
            assert!(output.std(0.0) > 0.01);
        }
    }
}

#[test]
fn an_overview_has_the_taps_of_every_stride_with_their_costs() {
    let folder = tempfile::tempdir().unwrap();
    let overview = inspect(&write(folder.path(), &encode(&synthetic(13))), SMALL).unwrap();
    assert_eq!((overview.opset, &overview.normalise), (13, &Normalise::Signed));
    let automatic = overview.offers.iter().filter(|offer| offer.automatic);
    let automatic = automatic.map(|offer| (offer.name.as_str(), offer.shape, offer.stride)).collect::<Vec<_>>();
    let expected =
        [("stem.norm", [8, 32, 48], 2), ("pool", [8, 16, 24], 4), ("sum", [12, 8, 12], 8), ("next", [20, 4, 6], 16)];
    assert_eq!(automatic, expected);
    let cost = |name: &str| overview.offers.iter().find(|offer| offer.name == name).unwrap().cost;
    // The stem's kernel has 3 x 3 x 3 weights per output, a's 8, b's 3 x 3 x 8, the depthwise one's 3 x 3.
    let macs = 8 * 32 * 48 * 27 + 6 * 8 * 12 * (8 + 72) + 12 * 8 * 12 * 9;
    let weights = (216 + 8) + 4 * 8 + 2 + (48 + 6) + (432 + 6) + (108 + 12);
    assert_eq!(cost("sum"), Cost { parameters: weights, macs });
    assert_eq!(overview.default_taps, Some(cost("next")), "the finer tap lies on the way to the coarser one");
    assert!(overview.offers.iter().any(|offer| offer.name == "wide" && !offer.automatic));
    assert!(overview.offers.iter().all(|offer| offer.name != "mean" && offer.name != "dropped"));
}

#[test]
fn real_backbones_cost_what_is_known_of_them() {
    let Some(path) = real_backbone("mobilenet_v2_features.onnx") else { return };
    let overview = inspect(&path, SIZE).unwrap();
    let strides =
        overview.offers.iter().filter(|offer| offer.automatic).map(|offer| (offer.name.as_str(), offer.stride));
    assert_eq!(strides.collect::<Vec<_>>()[1..], [("t119", 4), ("t130", 8), ("t156", 16)], "{overview:?}");
    let millions = overview.default_taps.unwrap().macs as f64 / 1e6;
    // The whole network has 300 million at 224 px (Sandler et al., CVPR 2018, table 4): 392 at 256, a third of it behind t156.
    assert!((240.0..300.0).contains(&millions), "{millions}");
}

#[test]
fn what_is_asked_for_wrongly_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &encode(&synthetic(13)));
    let open = |size, taps: &str| {
        Backbone::open(&path, size, &taps.parse().unwrap(), Normalise::Auto).map(|b| b.taps).unwrap_err().report()
    };
    let size = |width, height| InputSize { width, height };
    let cases = [
        (open(SMALL, "sun"), "no tensor 'sun'"),
        (open(SMALL, "sun"), "such as: sum"),
        (open(SMALL, "rgb"), "no tensor 'rgb'"),
        (open(SMALL, "auto:64"), "no tensor has stride 64"),
        (open(SMALL, "mean"), "no feature grid"),
        (open(size(100, 64), "sum"), "use 96 x 64 or 104 x 64"),
        (open(size(90, 64), "sum,next"), "use 96 x 64 or 80 x 64"),
        (open(SMALL, "class"), "ArgMax"),
    ];
    for (report, says) in cases {
        assert!(report.contains(says), "{report}\ndoes not say: {says}");
    }
    for text in ["", "a,,b", "auto:0", "auto:6", "auto:x"] {
        assert!(text.parse::<Taps>().is_err(), "{text}");
    }
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let altered = |change: fn(&mut GraphProto)| {
        let mut model = synthetic(13);
        change(model.graph.as_mut().unwrap());
        encode(&model)
    };
    let whole = encode(&synthetic(13));
    let cases = [
        (b"GIF89a, not a network".to_vec(), "not an ONNX file"),
        (Vec::new(), "not an ONNX file"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (altered(|graph| graph.input.push(float_value("mask", &[1]))), "2 inputs"),
        (altered(|graph| graph.input[0] = float_value("rgb", &[1, 64, 96, 3])), "is [1, H, W, 3], not [1, 3, H, W]"),
        (altered(|graph| graph.node[0].domain = "com.example".to_owned()), "not a standard one"),
        (altered(|graph| graph.node[1].output[0] = "stem".to_owned()), "two nodes write"),
        (altered(|graph| graph.initializer[0].data_location = Some(1)), "another file"),
        (altered(|graph| graph.initializer[0].raw_data.truncate(8)), "stem.w"),
        (altered(|graph| graph.initializer[0].raw_data.fill(0xff)), "not finite"),
        (altered(|graph| graph.node[0].attribute[1].ints = vec![0, 0]), "strides"),
        (encode(&synthetic(6)), "operator set 6"),
    ];
    for (bytes, says) in cases {
        let path = write(folder.path(), &bytes);
        let opened = Backbone::open(&path, SMALL, &Taps::Named(vec!["sum".to_owned()]), Normalise::Auto);
        let error = opened.map(|backbone| backbone.taps).expect_err(says);
        assert!(error.report().contains(says), "{}\ndoes not say: {says}", error.report());
        assert_eq!(error.kind(), hgad::ErrorKind::Device);
    }
    let gone = Backbone::open(&folder.path().join("gone"), SMALL, &Taps::Auto(vec![8]), Normalise::Auto).unwrap_err();
    assert!(gone.report().contains("cannot be read"));
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = encode(&synthetic(13));
    let mut random = Random::new(9);
    let taps = Taps::Auto(vec![8, 16]);
    let mut refused = 0;
    for round in 0..150 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate((random.uniform(0.0, 1.0) * bytes.len() as f32) as usize),
            // The structure is at the front of each node and tensor: most flips in weights do no harm.
            _ => (0..4).for_each(|_| {
                let at = (random.uniform(0.0, 1.0) * bytes.len() as f32) as usize;
                bytes[at] ^= 1 << (round % 8);
            }),
        }
        refused += usize::from(Backbone::open(&write(folder.path(), &bytes), SMALL, &taps, Normalise::Auto).is_err());
    }
    assert!(refused >= 50, "every truncated file is refused, and some of the flipped ones: {refused}");
}
