//! What limits of pictures are worth on real products: false alarms, and how often half of the light and a lost focus are seen at
//! once. Prints a table (`--nocapture`).

mod common;

use std::path::PathBuf;

use common::beside::{say, shared};
use hgad::dataset;
use hgad::picture::{Limits, Statistics};
use image::{Rgb, RgbImage, imageops};

/// A product, and what must be seen of it: most false alarms, and least shares of pictures with half of the light, and blurred.
const PRODUCTS: [(&str, f64, f64, f64); 5] = [
    ("ball_screw", 0.0, 1.0, 0.99),
    ("commutator", 0.0, 0.99, 0.1),
    // Its good test pictures are of another grain and light than those of training.
    ("fibre_fabric", 0.25, 0.5, 1.0),
    // Bright tiles are four times as bright as dark ones.
    ("magnetic_tile", 0.02, 0.05, 0.99),
    // Its pictures have no detail that a blur of 2 pixels could take away; the test for drift sees it.
    ("solar_cell", 0.02, 0.9, 0.0),
];

fn half_light(image: &RgbImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| Rgb(image.get_pixel(x, y).0.map(|value| value / 2)))
}

#[test]
fn half_light_and_blur_are_seen_where_products_vary_less_and_good_pictures_are_no_faults() {
    let Some(data) = shared("data") else { return };
    let images = |folder: PathBuf| dataset::images(&folder).unwrap();
    for (product, most_false, least_dark, least_blurred) in PRODUCTS {
        let look = |path: &PathBuf| dataset::read_rgb(path).unwrap();
        // Every fifth, as those that training leaves out.
        let normals = images(data.join(product).join("train/good")).into_iter().skip(4).step_by(5);
        let normals = normals.map(|path| Statistics::of(&look(&path), None)).collect::<Vec<_>>();
        let limits = Limits::fit(&normals).unwrap();
        let refused = |image: &RgbImage| usize::from(limits.fault(&Statistics::of(image, None)).is_some());
        let good = images(data.join(product).join("test/good"));
        let (mut falsely, mut dark, mut blurred) = (0, 0, 0);
        for image in good.iter().map(look) {
            falsely += refused(&image);
            dark += refused(&half_light(&image));
            blurred += refused(&imageops::blur(&image, 2.0));
        }
        let of = good.len();
        let told = format!(
            "{product:14} of {of}: {falsely} false alarms, {dark} with half the light, {blurred} blurred by 2 pixels; {limits:?}"
        );
        say(&told);
        let share = |count: usize| count as f64 / of as f64;
        assert!(share(falsely) <= most_false && share(dark) >= least_dark && share(blurred) >= least_blurred, "{told}");
    }
}
