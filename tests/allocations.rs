//! What a frame asks of the allocator behind the first ones. One test in a program of its own: what ran beside it would be counted too.

mod common;

use hgad::bench::allocation::{Allocations, Counted};
use hgad::bundle::{Bundle, Distance, ScoreReference};
use hgad::inspect::preprocess::Preparer;
use hgad::inspect::{Inspector, Mask};
use image::imageops::FilterType;
use image::{GrayImage, Luma, RgbImage};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Frames that make the buffers, and those that are counted.
const FRAMES: usize = 4;

/// How often `work` asks for memory in the worst of a few times, behind as many that are not counted.
fn asked(mut work: impl FnMut()) -> u64 {
    (0..FRAMES).for_each(|_| work());
    let counted = (0..FRAMES).map(|_| {
        let before = Allocations::now();
        work();
        before.until_now(1).count
    });
    counted.max().unwrap()
}

/// What one frame of a bundle asks for.
struct Asked {
    /// By the network, tract's operators and ours.
    network: u64,
    /// By all that comes behind it: distances, level maps, evidence, anomaly map, score.
    score: u64,
    /// By what comes before it, of a frame from a camera.
    resize: u64,
}

impl Asked {
    fn of(bundle: &Bundle, mask: Option<Mask>) -> Self {
        let mut inspector = Inspector::new(bundle).unwrap();
        let golden = &bundle.golden.frames[0];
        let reference = ScoreReference { mask, ..bundle.centers.references[golden.class].clone() };
        let camera = image::imageops::resize(&golden.image, 640, 480, FilterType::Triangle);
        let mut inspect =
            |image: &RgbImage| asked(|| drop(inspector.inspect(image, golden.class, &reference).unwrap()));
        let (whole, from_camera) = (inspect(&golden.image), inspect(&camera));
        // What `latents` gives away is a copy of what the network's outputs were written into: two lists, two arrays a level.
        let copy = 2 + 2 * bundle.manifest.levels.len() as u64;
        let network = asked(|| drop(inspector.latents(&golden.image).unwrap())) - copy;
        Asked { network, score: whole - network, resize: from_camera - whole }
    }
}

fn mask_of(bundle: &Bundle) -> Mask {
    let folder = tempfile::tempdir().unwrap();
    let input = bundle.manifest.input;
    let picture =
        GrayImage::from_fn(input.width as u32, input.height as u32, |x, _| Luma([if x < 9 { 0 } else { 255 }]));
    picture.save(folder.path().join("mask.png")).unwrap();
    Mask::open(&folder.path().join("mask.png")).unwrap()
}

#[test]
fn a_frame_asks_for_what_it_leaves_behind_and_for_what_libraries_make_anew() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Bundle::open(std::path::Path::new("models/demo")).unwrap();
    let cells = common::write_bundle_of(&folder.path().join("cells"), Distance::Cells);

    let mut preparer = Preparer::new(demo.manifest.input);
    let mut input = vec![0.0; 3 * demo.manifest.input.width * demo.manifest.input.height];
    assert_eq!(asked(|| preparer.prepare(&demo.golden.frames[0].image, &mut input).unwrap()), 0);

    for (bundle, most) in [(&demo, 60), (&cells, 10)] {
        let levels = bundle.manifest.levels.len() as u64;
        // Each matrix product packs one buffer: of classes and main centers, of levels and columns, of all levels and rows; and, where
        // the distance is from centers, of those of the class.
        let of_centers = if bundle.centers.cells.is_none() { levels } else { 0 };
        let products = 2 * levels + 1 + of_centers;
        for mask in [None, Some(mask_of(bundle))] {
            let Asked { network, score, resize } = Asked::of(bundle, mask);
            println!("network {network}, score {score}, resize {resize}");
            // The anomaly map and the levels' values go with the inspection, to the audit and to whoever looks.
            assert_eq!(score, 2 + products);
            // The resizer makes its table of weights for every frame: a piece for each row and each column.
            let input = bundle.manifest.input;
            assert!(resize <= (input.width + input.height + 16) as u64, "{resize}");
            assert!(network <= most, "{network}");
        }
    }
}
