//! The synthetic conveyor: parts that the program renders itself, with natural variation and with defects.
//!
//! Each part follows from a seed and its number alone. A surface (colour, height, shine per pixel) is sampled from the
//! part's shape, then lit and photographed: lamp, shadows, lens, sensor noise. A defect's mask is where its picture
//! differs from that of the same part without the defect.

mod blister;
mod cap;
mod flaw;
mod gear;
pub mod geometry;
mod optics;
mod strip;
mod surface;

use image::{GrayImage, Luma, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use blister::Blister;
use cap::Cap;
use flaw::Flaw;
use gear::Gear;
use geometry::{Point, at};
use optics::{Exposure, gamma};
pub use strip::Strip;
use surface::{Field, Mat, Texel};

/// Pixels per side of the synthetic camera's picture.
pub const PICTURE_SIZE: usize = 256;

/// What runs on the synthetic conveyor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// A blister pack with eight capsules.
    Blister,
    /// A printed plastic screw cap.
    Cap,
    /// A turned steel gear.
    Gear,
}

impl Product {
    /// All products, sorted by name.
    pub const ALL: [Product; 3] = [Product::Blister, Product::Cap, Product::Gear];

    /// The product's class in the model.
    pub fn name(self) -> &'static str {
        match self {
            Product::Blister => "blister",
            Product::Cap => "cap",
            Product::Gear => "gear",
        }
    }

    /// The product called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Product::ALL.into_iter().find(|product| product.name() == name)
    }

    /// The colour of its carrier's mat.
    fn mat(self) -> surface::Colour {
        match self {
            Product::Blister => [0.045, 0.10, 0.062],
            Product::Cap => [0.30, 0.25, 0.17],
            Product::Gear => [0.035, 0.065, 0.16],
        }
    }

    /// The kinds of defect that this product can have.
    pub fn defects(self) -> &'static [DefectKind] {
        use DefectKind::*;
        match self {
            Product::Blister => &[Scratch, Stain, ForeignBody, BrokenEdge, Missing, MixedUp],
            Product::Cap => &[Scratch, Dent, Stain, ForeignBody, BrokenEdge, Misprint],
            Product::Gear => &[Scratch, Dent, Stain, ForeignBody, BrokenEdge, Missing],
        }
    }
}

/// What can be wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefectKind {
    /// A bent groove.
    Scratch,
    /// A hollow.
    Dent,
    /// Oil or dirt.
    Stain,
    /// A crumb or a thread that does not belong there.
    ForeignBody,
    /// A piece broken off at the border.
    BrokenEdge,
    /// A capsule or a tooth is not there.
    Missing,
    /// A capsule of another product.
    MixedUp,
    /// The print is shifted, doubled or half missing.
    Misprint,
}

impl DefectKind {
    /// The kind's name, as in folders and reports.
    pub fn name(self) -> &'static str {
        match self {
            DefectKind::Scratch => "scratch",
            DefectKind::Dent => "dent",
            DefectKind::Stain => "stain",
            DefectKind::ForeignBody => "foreign-body",
            DefectKind::BrokenEdge => "broken-edge",
            DefectKind::Missing => "missing",
            DefectKind::MixedUp => "mixed-up",
            DefectKind::Misprint => "misprint",
        }
    }
}

/// What is known of a part before it is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// What it is.
    pub product: Product,
    /// What is wrong with it.
    pub defect: Option<DefectKind>,
}

/// A rendered part.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is and what is wrong with it.
    pub truth: Truth,
    /// The camera's picture.
    pub image: RgbImage,
    /// Where the defect is visible: 255, elsewhere 0. None for a good part.
    pub mask: Option<GrayImage>,
}

/// An endless row of parts, each of which follows from the seed and its number.
#[derive(Debug, Clone, Copy)]
pub struct Conveyor {
    /// Which row of parts.
    pub seed: u64,
    /// The share of parts with a defect, 0..1.
    pub defect_share: f64,
}

impl Conveyor {
    /// What part `number` is, without rendering it.
    pub fn truth(&self, number: u64) -> Truth {
        let mut rng = stream(self.seed, number, Purpose::Choice);
        let product = Product::ALL[rng.random_range(0..Product::ALL.len())];
        let kinds = product.defects();
        let defect = (rng.random::<f64>() < self.defect_share).then(|| kinds[rng.random_range(0..kinds.len())]);
        Truth { product, defect }
    }

    /// Renders part `number`.
    pub fn part(&self, number: u64) -> Part {
        render(self.truth(number), self.seed, number)
    }
}

/// What a stream of random numbers is for: the same part with and without its defect is otherwise the same.
#[derive(Clone, Copy)]
enum Purpose {
    Choice,
    Nature,
    Flaw,
}

fn stream(seed: u64, number: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    key[16] = purpose as u8;
    ChaCha8Rng::from_seed(key)
}

/// Renders one part. `seed` and `number` decide its natural variation and the place and shape of its defect.
pub fn render(truth: Truth, seed: u64, number: u64) -> Part {
    let mut nature = stream(seed, number, Purpose::Nature);
    let travelled = at(nature.random_range(0.0..50.0), nature.random_range(-0.1..0.1));
    let mat = Mat { travelled, colour: truth.product.mat(), salt: seed as u32 };
    let shape = Shape::sample(truth.product, &mut nature);
    let exposure = Exposure::sample(&mut nature);
    let clean = exposure.light(&shape.field(&mat, None));
    let Some(kind) = truth.defect else {
        return Part { truth, image: exposure.expose(&clean, PICTURE_SIZE), mask: None };
    };
    let mut chance = stream(seed, number, Purpose::Flaw);
    let (mut light, mut mask) = (clean.clone(), GrayImage::new(PICTURE_SIZE as u32, PICTURE_SIZE as u32));
    for attempt in 0..ATTEMPTS {
        let force = attempt as f32 / ATTEMPTS as f32;
        let flaw = Flaw::sample(kind, Shape::spot(truth.product, kind, &mut chance), force, &mut chance);
        light = exposure.light(&shape.field(&mat, Some(&flaw)));
        let difference = difference(&clean, &light);
        mask = mask_of(&difference);
        if seen_at_a_glance(&difference) {
            break;
        }
    }
    Part { truth, image: exposure.expose(&light, PICTURE_SIZE), mask: Some(mask) }
}

/// Renders the mat of a product's carrier without a part.
fn render_mat(product: Product, seed: u64, number: u64) -> RgbImage {
    let mut nature = stream(seed, number, Purpose::Nature);
    let travelled = at(nature.random_range(0.0..50.0), nature.random_range(-0.1..0.1));
    let mat = Mat { travelled, colour: product.mat(), salt: seed as u32 };
    let exposure = Exposure::sample(&mut nature);
    exposure.expose(&exposure.light(&Field::sample(PICTURE_SIZE, |p| mat.texel(p))), PICTURE_SIZE)
}

/// How often a defect that is hardly visible is tried again elsewhere, a little larger each time.
const ATTEMPTS: usize = 16;

/// The largest change of a channel at every pixel, as the sensor sees it: 0..1 after the transfer curve.
fn difference(clean: &[[f32; 3]], flawed: &[[f32; 3]]) -> Vec<f32> {
    let change = |(a, b): (&[f32; 3], &[f32; 3])| (0..3).map(|c| (gamma(a[c]) - gamma(b[c])).abs()).fold(0.0, f32::max);
    clean.iter().zip(flawed).map(change).collect()
}

/// A defect counts as one when a person sees it at a glance: at least 0.4% of the picture changes by a tenth of full scale.
fn seen_at_a_glance(difference: &[f32]) -> bool {
    let changed = difference.iter().filter(|change| **change > 0.1).count();
    changed * 250 >= difference.len()
}

fn mask_of(difference: &[f32]) -> GrayImage {
    let size = PICTURE_SIZE as u32;
    GrayImage::from_fn(size, size, |x, y| {
        let changed = difference[(y * size + x) as usize] > 0.05;
        Luma([if changed { 255 } else { 0 }])
    })
}

/// A part's form with its natural variation.
enum Shape {
    Blister(Blister),
    Cap(Cap),
    Gear(Gear),
}

impl Shape {
    fn sample(product: Product, rng: &mut ChaCha8Rng) -> Self {
        match product {
            Product::Blister => Shape::Blister(Blister::sample(rng)),
            Product::Cap => Shape::Cap(Cap::sample(rng)),
            Product::Gear => Shape::Gear(Gear::sample(rng)),
        }
    }

    fn spot(product: Product, kind: DefectKind, rng: &mut ChaCha8Rng) -> Point {
        match product {
            Product::Blister => Blister::spot(kind, rng),
            Product::Cap => Cap::spot(kind, rng),
            Product::Gear => Gear::spot(kind, rng),
        }
    }

    fn field(&self, mat: &Mat, flaw: Option<&Flaw>) -> Field {
        let pixel = 2.0 / PICTURE_SIZE as f32;
        Field::sample(PICTURE_SIZE, |p| self.texel(p, mat.texel(p), flaw, pixel))
    }

    fn texel(&self, p: Point, under: Texel, flaw: Option<&Flaw>, pixel: f32) -> Texel {
        match self {
            Shape::Blister(blister) => blister.texel(p, under, flaw, pixel),
            Shape::Cap(cap) => cap.texel(p, under, flaw, pixel),
            Shape::Gear(gear) => gear.texel(p, under, flaw, pixel),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_part_follows_from_its_seed_and_number() {
        let conveyor = Conveyor { seed: 5, defect_share: 0.5 };
        let (first, again) = (conveyor.part(3), conveyor.part(3));
        assert_eq!(first.image, again.image);
        assert_eq!(first.mask, again.mask);
        assert_ne!(first.image, Conveyor { seed: 6, ..conveyor }.part(3).image);
        let truth = Truth { product: Product::Gear, defect: None };
        assert_ne!(render(truth, 5, 0).image, render(truth, 5, 1).image);
    }

    #[test]
    fn every_defect_of_every_product_is_seen_where_its_mask_is() {
        for product in Product::ALL {
            for (number, kind) in product.defects().iter().enumerate() {
                let truth = Truth { product, defect: Some(*kind) };
                let part = render(truth, 11, number as u64);
                let good = render(Truth { defect: None, ..truth }, 11, number as u64);
                let mask = part.mask.expect("a defective part has a mask");
                let share = |inside: bool| {
                    let pairs = mask.pixels().zip(part.image.pixels().zip(good.image.pixels()));
                    let here = pairs.filter(|(m, _)| (m.0[0] > 0) == inside).map(|(_, pair)| pair).collect::<Vec<_>>();
                    let apart = |(a, b): &(&image::Rgb<u8>, &image::Rgb<u8>)| {
                        a.0.iter().zip(b.0).any(|(a, b)| a.abs_diff(b) > 20)
                    };
                    (here.iter().filter(|pair| apart(pair)).count() as f64 / here.len() as f64, here.len())
                };
                let (inside, area) = share(true);
                assert!(area > 260, "{product:?} {kind:?}: {area} pixels");
                assert!(inside > 0.4, "{product:?} {kind:?}: {inside:.2} of the mask differs");
                let (outside, _) = share(false);
                assert!(outside < 0.001, "{product:?} {kind:?}: {outside:.4} of the rest differs");
            }
        }
    }

    #[test]
    fn all_products_and_kinds_run_on_the_belt_at_the_rate_asked_for() {
        let conveyor = Conveyor { seed: 1, defect_share: 0.1 };
        let truths = (0..3000).map(|number| conveyor.truth(number)).collect::<Vec<_>>();
        let products = truths.iter().map(|truth| truth.product).collect::<HashSet<_>>();
        let pairs = truths.iter().filter_map(|t| Some((t.product, t.defect?))).collect::<HashSet<_>>();
        assert_eq!(products.len(), 3);
        assert_eq!(pairs.len(), Product::ALL.iter().map(|product| product.defects().len()).sum::<usize>());
        let defective = truths.iter().filter(|truth| truth.defect.is_some()).count();
        assert!((240..360).contains(&defective), "{defective}");
    }

    #[test]
    fn names_lead_back() {
        for product in Product::ALL {
            assert_eq!(Product::named(product.name()), Some(product));
        }
        assert_eq!(Product::named("brick"), None);
    }
}
