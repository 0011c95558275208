//! Networks built here, as exporters write them, against what tract makes of the file as it is.

use hgad::bundle::InputSize;
use ndarray::{Array3, Array4};
use tract_onnx::pb::{AttributeProto, ModelProto};
use tract_onnx::prelude::*;

use super::*;
use crate::backbone::Normalise;
use crate::export::tests::Random;
use crate::onnx::{GraphWriter, encode, float_value, int, ints};

const SIZE: InputSize = InputSize { width: 24, height: 16 };

fn word(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: value.into(), r#type: 3, ..AttributeProto::default() }
}

/// A network of one convolution to one channel at stride 2 and what `rest` makes of it, with outputs `map` and `score`.
struct Made {
    graph: GraphWriter,
}

impl Made {
    fn new() -> Self {
        let mut random = Random::new(3);
        let mut graph = GraphWriter::default();
        let weights = graph.f32("w", &[1, 3, 2, 2], random.vector(12, 0.0, 1.0).iter());
        let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        graph.op_with("Conv", &["pixels", &weights], "coarse", attributes);
        Made { graph }
    }

    fn score(mut self, of: &str) -> Self {
        let attributes = vec![ints("axes", &[1, 2, 3]), int("keepdims", 0)];
        self.graph.op_with("ReduceMax", &[of], "score", attributes);
        self
    }

    fn model(self, input: &[usize]) -> ModelProto {
        let outputs = self.graph.nodes.iter().flat_map(|node| &node.output);
        let outputs = outputs.filter(|name| ["map", "score"].contains(&name.as_str())).cloned().collect::<Vec<_>>();
        let outputs = outputs.into_iter().map(|name| float_value(name, &[])).collect();
        self.graph.finish(13, vec![float_value("pixels", input)], outputs)
    }

    fn first(self) -> ModelProto {
        self.model(&[1, 3, SIZE.height, SIZE.width])
    }
}

fn wanted(map: Option<&str>, score: Option<&str>) -> Wanted {
    let normalise = Some(Normalise::None);
    Wanted { map: map.map(str::to_owned), score: score.map(str::to_owned), normalise, ..Wanted::default() }
}

fn open(model: &ModelProto, wanted: &Wanted) -> hgad::Result<Network> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.onnx");
    std::fs::write(&path, encode(model)).unwrap();
    Network::open(&path, wanted)
}

fn image() -> Array4<f32> {
    let mut random = Random::new(9);
    Array4::from_shape_simple_fn((1, 3, SIZE.height, SIZE.width), || random.uniform(0.0, 255.0))
}

/// The outputs of a model as tract itself computes them, in rows.
fn outputs(bytes: &[u8], image: Array4<f32>) -> Vec<Vec<f32>> {
    let shape = image.shape().to_vec();
    let model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_read(&mut &bytes[..]).unwrap();
    let model = model.with_input_fact(0, f32::fact(shape).into()).unwrap().into_optimized().unwrap();
    let outputs = model.into_runnable().unwrap().run(tvec!(Tensor::from(image).into_tvalue())).unwrap();
    outputs.iter().map(|output| output.to_plain_array_view::<f32>().unwrap().iter().copied().collect()).collect()
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{what}: {a} is not {b}");
    }
}

#[test]
fn resampling_becomes_products_that_give_what_the_operators_do() {
    type Write = fn(&mut GraphWriter);
    fn resize(graph: &mut GraphWriter, by: &[&str], mode: &str, coordinates: &str, nearest: &str) {
        let how = vec![
            word("mode", mode),
            word("coordinate_transformation_mode", coordinates),
            word("nearest_mode", nearest),
        ];
        let inputs = [&["coarse", ""], by].concat();
        graph.op_with("Resize", &inputs, "map", how);
    }
    fn to_whole(graph: &mut GraphWriter) -> String {
        graph.i64("sizes", &[1, 1, 16, 24])
    }
    fn pad(graph: &mut GraphWriter, mode: &str) {
        let pads = graph.i64("pads", &[0, 0, 2, 1, 0, 0, 3, 4]);
        graph.op_with("Pad", &["coarse", &pads], "map", vec![word("mode", mode)]);
    }
    let cases: [(&str, Write); 11] = [
        ("linear, half_pixel", |g| {
            let sizes = to_whole(g);
            resize(g, &["", &sizes], "linear", "half_pixel", "floor");
        }),
        ("linear, align_corners", |g| {
            let sizes = to_whole(g);
            resize(g, &["", &sizes], "linear", "align_corners", "floor");
        }),
        ("linear, by scales", |g| {
            let scales = g.f32("scales", &[4], &[1.0, 1.0, 1.5, 1.25]);
            resize(g, &[&scales], "linear", "asymmetric", "floor");
        }),
        ("nearest, asymmetric, floor", |g| {
            let sizes = to_whole(g);
            resize(g, &["", &sizes], "nearest", "asymmetric", "floor");
        }),
        ("nearest, half_pixel, round_prefer_floor", |g| {
            let scales = g.f32("scales", &[4], &[1.0, 1.0, 0.5, 2.0]);
            resize(g, &[&scales], "nearest", "half_pixel", "round_prefer_floor");
        }),
        // Exporters write sizes as computations.
        ("sizes from a shape", |g| {
            let (from, to) = (g.i64("from", &[0]), g.i64("to", &[2]));
            let shape = g.op("Shape", &["coarse"], "shape");
            let first = g.op("Slice", &[&shape, &from, &to], "first");
            let last = g.i64("last", &[16, 24]);
            let sizes = g.op_with("Concat", &[&first, &last], "sizes", vec![int("axis", 0)]);
            resize(g, &["", &sizes], "linear", "half_pixel", "floor");
        }),
        ("pad, reflect", |g| pad(g, "reflect")),
        ("expand", |g| {
            let (to, axes) = (g.i64("to", &[1, 4, 8, 12]), g.i64("axes", &[1]));
            let four = g.op("Expand", &["coarse", &to], "four");
            g.op("ReduceSum", &[&four, &axes], "map");
        }),
        ("expand what is broadcast", |g| {
            let axes = g.i64("axes", &[2, 3]);
            let sum = g.op("ReduceSum", &["coarse", &axes], "sum");
            let to = g.i64("to", &[1, 1, 8, 12]);
            let wide = g.op("Expand", &[&sum, &to], "wide");
            g.op("Div", &["coarse", &wide], "map");
        }),
        ("pad, edge", |g| pad(g, "edge")),
        ("pad, constant", |g| pad(g, "constant")),
    ];
    for (what, write) in cases {
        let mut made = Made::new();
        write(&mut made.graph);
        let model = made.first();
        let network = open(&model, &wanted(Some("map"), None)).unwrap();
        let bundle = network.encode(&[1.0]);
        let graph = hgad::bundle::parse_graph("m", &bundle).unwrap().graph.unwrap();
        let left = graph.node.iter().map(|node| node.op_type.as_str()).collect::<Vec<_>>();
        assert!(!left.iter().any(|op| ["Resize", "Pad", "Shape", "Slice", "Expand"].contains(op)), "{what}: {left:?}");
        assert_close(&outputs(&bundle, image())[0], &outputs(&encode(&model), image())[0], what);
    }
}

#[test]
fn a_score_a_sign_and_a_unit_are_those_that_were_asked_for() {
    let model = || {
        let mut made = Made::new();
        made.graph.op("Identity", &["coarse"], "map");
        made.score("map").first()
    };
    let raw = outputs(&encode(&model()), image());
    let network = open(&model(), &Wanted { invert: true, ..wanted(Some("map"), Some("score")) }).unwrap();
    let levels = network.levels.iter().map(|level| (level.tap.as_str(), level.height, level.width));
    assert_eq!(levels.collect::<Vec<_>>(), [("map", 8, 12), ("score", 1, 1)]);
    let written = outputs(&network.encode(&[2.0, 4.0]), image());
    assert_close(&written[0], &raw[0].iter().map(|value| -value / 2.0).collect::<Vec<_>>(), "map");
    assert_close(&written[2], &[-raw[1][0] / 4.0], "score");
    assert!(written[1].iter().chain(&written[3]).all(|logdet| *logdet == 0.0));
    assert_eq!((network.input.as_str(), network.size, network.channels_last), ("pixels", SIZE, false));
    let alone = open(&model(), &wanted(None, Some("score"))).unwrap();
    assert!(alone.levels.len() == 1 && alone.levels[0].is_whole());
}

#[test]
fn what_is_no_number_is_not_lost_where_the_network_chooses() {
    // A root of what is negative at one place alone, below a maximum; and below one that a condition chooses.
    let mut made = Made::new();
    let shift = made.graph.f32("shift", &[1], &[500.0]);
    made.graph.op("Sub", &["coarse", &shift], "shifted");
    let root = made.graph.op("Sqrt", &["shifted"], "root");
    let one = made.graph.f32("one", &[1], &[1.0]);
    let above = made.graph.op("Greater", &["root", &one], "above");
    made.graph.op("Where", &[&above, &root, &one], "map");
    let model = made.score("root").first();
    let first = |image: Array4<f32>| {
        let of = |wanted: &Wanted| outputs(&open(&model, wanted).unwrap().encode(&[1.0; 2]), image.clone())[0].clone();
        [of(&wanted(Some("map"), None)), of(&wanted(None, Some("score")))]
    };
    let bright = Array4::from_elem((1, 3, SIZE.height, SIZE.width), 255.0);
    let mut spot = bright.clone();
    spot.slice_mut(ndarray::s![.., .., 4..6, 4..6]).fill(0.0);
    for (whole, broken) in first(bright).iter().zip(first(spot)) {
        assert!(whole.iter().all(|value| value.is_finite() && *value > 0.0), "{whole:?}");
        assert!(broken.iter().all(|value| value.is_nan()), "{broken:?}");
    }
}

#[test]
fn channels_may_be_last_and_sizes_open() {
    let last = |input: &[usize]| {
        let mut graph = GraphWriter::default();
        let first = graph.op_with("Transpose", &["pixels"], "first", vec![ints("perm", &[0, 3, 1, 2])]);
        graph.op_with("ReduceMean", &[&first], "map", vec![ints("axes", &[1])]);
        graph.finish(13, vec![float_value("pixels", input)], vec![float_value("map", &[])])
    };
    let network = open(&last(&[1, 16, 24, 3]), &wanted(Some("map"), None)).unwrap();
    assert!(network.channels_last && network.size == SIZE);
    let mean = |image: &Array4<f32>| {
        let planes = Array3::from_shape_fn((1, 16, 24), |(_, y, x)| (0..3).map(|c| image[[0, c, y, x]]).sum::<f32>());
        planes.iter().map(|sum| sum / 3.0).collect::<Vec<_>>()
    };
    assert_close(&outputs(&network.encode(&[1.0]), image())[0], &mean(&image()), "mean");
    // 0 is how this writer says that a side is open.
    let open_sides = Wanted { size: Some(SIZE), ..wanted(Some("map"), None) };
    assert_eq!(open(&last(&[1, 0, 0, 3]), &open_sides).unwrap().size, SIZE);
    assert_eq!(open(&last(&[1, 0, 0, 3]), &wanted(Some("map"), None)).unwrap().size.width, 256);
    let report = open(&last(&[1, 16, 32, 3]), &open_sides).unwrap_err().report();
    assert!(report.contains("takes images of 32x16, not of 24x16"), "{report}");
}

#[test]
fn the_normalisation_is_read_from_the_first_operator() {
    struct Case {
        mean: Option<f32>,
        chosen: Normalise,
    }
    let cases = [
        Case { mean: Some(0.485), chosen: Normalise::Unit },
        Case { mean: Some(123.7), chosen: Normalise::None },
        Case { mean: None, chosen: Normalise::ImageNet },
    ];
    for Case { mean, chosen } in cases {
        let mut graph = GraphWriter::default();
        let centred = match mean {
            Some(mean) => {
                let mean = graph.f32("mean", &[1, 3, 1, 1], &[mean; 3]);
                graph.op("Sub", &["pixels", &mean], "centred")
            }
            None => graph.op("Relu", &["pixels"], "rectified"),
        };
        graph.op_with("ReduceMean", &[&centred], "map", vec![ints("axes", &[1])]);
        let input = float_value("pixels", &[1, 3, SIZE.height, SIZE.width]);
        let model = graph.finish(13, vec![input], vec![float_value("map", &[])]);
        let network = open(&model, &Wanted { normalise: Some(Normalise::Auto), ..wanted(Some("map"), None) }).unwrap();
        assert_eq!(network.normalise, chosen);
    }
}

#[test]
fn a_normalisation_that_is_not_seen_is_asked_for() {
    let begins = |write: &dyn Fn(&mut GraphWriter) -> String| {
        let mut graph = GraphWriter::default();
        let first = write(&mut graph);
        graph.op_with("ReduceMean", &[&first], "map", vec![ints("axes", &[1])]);
        let input = float_value("pixels", &[1, 3, SIZE.height, SIZE.width]);
        let model = graph.finish(13, vec![input], vec![float_value("map", &[])]);
        let auto = Wanted { normalise: Some(Normalise::Auto), ..wanted(Some("map"), None) };
        open(&model, &auto).unwrap_err().report()
    };
    let moved = begins(&|graph| graph.op("Identity", &["pixels"], "moved"));
    assert!(moved.contains("begins with Identity") && moved.contains("--normalize"), "{moved}");
    let hidden = begins(&|graph| {
        let mean = graph.f32("mean", &[3], &[0.485; 3]);
        let sides = graph.i64("sides", &[1, 3, 1, 1]);
        let mean = graph.op("Reshape", &[&mean, &sides], "reshaped");
        graph.op("Sub", &["pixels", &mean], "centred")
    });
    assert!(hidden.contains("begins with Sub"), "{hidden}");
}

#[test]
fn what_cannot_be_imported_is_refused_by_name() {
    fn with(write: impl Fn(&mut GraphWriter)) -> ModelProto {
        let mut made = Made::new();
        write(&mut made.graph);
        made.score("coarse").first()
    }
    let (map, score) = (wanted(Some("map"), None), wanted(None, Some("score")));
    let identity = |graph: &mut GraphWriter| drop(graph.op("Identity", &["coarse"], "map"));
    let cases = [
        (with(identity), Wanted { map: None, score: None, ..map.clone() }, "its outputs are: map, score"),
        (with(identity), wanted(Some("heat"), None), "has no output 'heat'"),
        (with(identity), wanted(Some("score"), None), "it is a score, not a map"),
        (with(identity), wanted(None, Some("map")), "is a map of 12x8, not a score"),
        (with(|g| drop(g.op("Concat2", &["coarse"], "map"))), map.clone(), "Concat2"),
        (
            with(|g| drop(g.op_with("Concat", &["coarse", "coarse"], "map", vec![int("axis", 1)]))),
            map.clone(),
            "neither a map of one channel nor one number",
        ),
        (
            with(|g| {
                let repeats = g.i64("repeats", &[1, 1, 2, 2]);
                g.op("Tile", &["coarse", &repeats], "map");
            }),
            map.clone(),
            "(Tile)",
        ),
        (
            with(|g| {
                let sizes = g.i64("sizes", &[1, 1, 16, 24]);
                g.op_with("Resize", &["coarse", "", "", &sizes], "map", vec![word("mode", "cubic")]);
            }),
            map.clone(),
            "it interpolates by cubic",
        ),
        (
            with(|g| {
                let sizes = g.i64("sizes", &[1, 1, 32, 48]);
                g.op_with("Resize", &["coarse", "", "", &sizes], "map", vec![word("mode", "linear")]);
            }),
            map.clone(),
            "is 48x32, finer than the image",
        ),
    ];
    for (model, wanted, says) in cases {
        let report = open(&model, &wanted).unwrap_err().report();
        assert!(report.contains(says), "{report}\ndoes not say: {says}");
    }
    assert!(open(&with(identity), &score).is_ok());
}
