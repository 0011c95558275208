//! The backbones that lie beside the checkout, and small ones built here.

use std::path::PathBuf;

use ndarray::Array4;

use super::*;

/// A folder of pretrained classifiers beside the checkout, where there is one.
pub(crate) fn real_backbone(name: &str) -> Option<PathBuf> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|folder| folder.join("shared/backbones").join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no shared/backbones/{name} beside the checkout");
    }
    found
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
