use std::sync::{Arc, OnceLock};

use image::{Rgb, RgbImage};

use super::*;
use crate::camera::{Frame, Region};
use crate::synthetic::{Product, Strip, Truth};
use crate::time::{Monotonic, StampSource};

/// Pixels per row of the rendered camera.
const WIDTH: u32 = 640;

fn looks() -> Looks {
    Looks { region: None, direction: Direction::Right, mm_per_pixel: 0.25, crop_mm: 64.0, shortest_mm: 5.0 }
}

fn learned(strip: &Strip, frames: u32) -> crate::Result<EmptyBelt> {
    let mut learner = Learner::new((WIDTH, 256));
    for k in 0..frames {
        learner.take(&strip.noisy(i64::from(k) * 37, WIDTH, k)).unwrap();
    }
    learner.finish(&[looks()])
}

fn empty() -> &'static Strip {
    static EMPTY: OnceLock<Strip> = OnceLock::new();
    EMPTY.get_or_init(|| Strip::empty(Product::Gear, 3))
}

fn belt() -> Arc<EmptyBelt> {
    static BELT: OnceLock<Arc<EmptyBelt>> = OnceLock::new();
    BELT.get_or_init(|| Arc::new(learned(empty(), 40).unwrap())).clone()
}

fn gate() -> Gate {
    Gate::new(belt(), looks()).unwrap()
}

/// A belt with gears at these places.
fn strip(places: &[i64]) -> Strip {
    let truth = Truth { product: Product::Gear, defect: None };
    let parts = places.iter().zip(0..);
    parts.fold(empty().clone(), |strip, (at, number)| strip.with(*at, truth, 7, number))
}

fn lit(image: &RgbImage, light: impl Fn(u32) -> f32) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        Rgb(image.get_pixel(x, y).0.map(|value| (f32::from(value) * light(x)).round().min(255.0) as u8))
    })
}

#[test]
fn a_part_is_found_where_it_lies_from_border_to_border() {
    let (mut gate, strip) = (gate(), strip(&[1000]));
    let mut seen = Vec::new();
    for (k, moved) in (900..2000).step_by(23).enumerate() {
        let found = gate.look(&strip.noisy(moved, WIDTH, k as u32)).unwrap();
        assert!(found.len() <= 1, "at {moved}: {found:?}");
        let Some(segment) = found.first().copied() else { continue };
        if !segment.enters && !segment.leaves {
            // Whatever the noise, its edges move with the belt.
            seen.push((moved - i64::from(segment.from), moved - i64::from(segment.to)));
        }
        assert_eq!(segment.enters, segment.from == 0);
        assert_eq!(segment.leaves, segment.to == WIDTH);
    }
    assert!(seen.len() > 15, "{seen:?}");
    let spread = |edge: fn(&(i64, i64)) -> i64| {
        let edges = seen.iter().map(edge).collect::<Vec<_>>();
        edges.iter().max().unwrap() - edges.iter().min().unwrap()
    };
    assert!(spread(|edges| edges.0) <= 6 && spread(|edges| edges.1) <= 6, "{seen:?}");
    let length = seen[0].0 - seen[0].1;
    assert!((150..256).contains(&length), "a gear is {length} pixels long");
}

#[test]
fn its_picture_has_it_in_the_middle_or_there_is_none() {
    let (mut gate, strip) = (gate(), strip(&[1000]));
    let part = strip.picture(1400, WIDTH);
    let segment = gate.look(&part).unwrap()[0];
    let view = gate.view(&segment).unwrap().crop(&part).unwrap();
    assert_eq!(view.dimensions(), (256, 256));
    let again = gate.look(&strip.picture(1450, WIDTH)).unwrap()[0];
    let [left, ..] = gate.view(&segment).unwrap().edges((WIDTH, 256)).unwrap();
    let [later, ..] = gate.view(&again).unwrap().edges((WIDTH, 256)).unwrap();
    assert!((later - left).abs_diff(50) <= 2, "{left} {later}: it follows the part");
    // Whole, and what belongs to its picture is not.
    let edge = gate.look(&strip.picture(1245, WIDTH)).unwrap()[0];
    assert!(!edge.enters && gate.view(&edge).is_none(), "{edge:?}");
    let long = Segment { from: 100, to: 400, enters: false, leaves: false };
    assert_eq!(gate.view(&long), None, "longer than its picture");
}

#[test]
fn an_empty_belt_shows_nothing_and_light_that_drifts_a_little_neither() {
    let (mut gate, empty) = (gate(), empty());
    for k in 0..30 {
        let picture = empty.noisy(5000 + 61 * i64::from(k), WIDTH, 1000 + k);
        assert_eq!(gate.look(&picture).unwrap(), [], "frame {k}");
        assert_eq!(gate.look(&lit(&picture, |_| 1.06)).unwrap(), [], "brighter, frame {k}");
        assert_eq!(gate.look(&lit(&picture, |_| 0.94)).unwrap(), [], "darker, frame {k}");
    }
}

#[test]
fn light_that_is_another_is_a_part_from_border_to_border_and_no_silence() {
    let (mut gate, empty) = (gate(), Strip::empty(Product::Cap, 3));
    // Of a lighter mat too: the colour is another.
    let whole = [Segment { from: 0, to: WIDTH, enters: true, leaves: true }];
    assert_eq!(gate.look(&empty.picture(0, WIDTH)).unwrap(), whole);
    let own = self::empty().picture(0, WIDTH);
    assert_eq!(gate.look(&lit(&own, |_| 1.6)).unwrap(), whole);
    assert_eq!(gate.look(&lit(&own, |_| 0.0)).unwrap(), whole, "the lamp died");
}

#[test]
fn a_faint_shadow_is_none_and_a_deep_one_is_a_part() {
    let (mut gate, empty) = (gate(), empty().picture(0, WIDTH));
    let shadow = |depth: f32| move |x: u32| if (200..300).contains(&x) { 1.0 - depth } else { 1.0 };
    assert_eq!(gate.look(&lit(&empty, shadow(0.08))).unwrap(), []);
    let deep = gate.look(&lit(&empty, shadow(0.7))).unwrap();
    assert!(deep.len() == 1 && deep[0].from.abs_diff(200) <= 4 && deep[0].to.abs_diff(300) <= 4, "{deep:?}");
}

#[test]
fn specks_are_no_parts_and_small_gaps_do_not_part_them() {
    let mut gate = gate();
    let mut picture = empty().picture(0, WIDTH);
    let paint = |picture: &mut RgbImage, x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
        x.flat_map(|x| y.clone().map(move |y| (x, y))).for_each(|(x, y)| picture.put_pixel(x, y, Rgb([250, 240, 30])));
    };
    paint(&mut picture, 50..54, 20..24);
    paint(&mut picture, 100..108, 0..256);
    assert_eq!(gate.look(&picture).unwrap(), [], "a speck, and a line that is shorter than a part");
    paint(&mut picture, 200..260, 50..200);
    paint(&mut picture, 270..330, 50..200);
    let found = gate.look(&picture).unwrap();
    assert!(found.len() == 1 && found[0].from.abs_diff(200) <= 2 && found[0].to.abs_diff(330) <= 2, "{found:?}");
    paint(&mut picture, 400..460, 50..200);
    let found = gate.look(&picture).unwrap().iter().map(|segment| segment.from / 10).collect::<Vec<_>>();
    assert_eq!(found, [40, 20], "the first to leave is the first");
}

#[test]
fn the_shortest_part_is_seen_wherever_it_lies_among_the_cells() {
    let mut gate = gate();
    for from in 200..204 {
        let mut picture = empty().picture(0, WIDTH);
        let bar = (from..from + 20).flat_map(|x| (50..200).map(move |y| (x, y)));
        bar.for_each(|(x, y)| picture.put_pixel(x, y, Rgb([250, 240, 30])));
        assert_eq!(gate.look(&picture).unwrap().len(), 1, "5 mm from {from} on");
    }
}

#[test]
fn a_gate_says_from_which_contrast_on_a_part_is_seen() {
    let (mut gate, contrast) = (gate(), gate().contrast());
    let usual = empty().picture(0, WIDTH);
    let mut found = |by: i16| {
        let lies = |x: u32, y: u32| (200..300).contains(&x) && (40..220).contains(&y);
        let by = |x, y| if lies(x, y) { by } else { 0 };
        let picture = RgbImage::from_fn(WIDTH, 256, |x, y| {
            Rgb(usual.get_pixel(x, y).0.map(|value| (i16::from(value) + by(x, y)).clamp(0, 255) as u8))
        });
        gate.look(&picture).unwrap().len()
    };
    let (median, largest) = (i16::from(contrast.median), i16::from(contrast.largest));
    assert!(8 <= median && median <= largest && largest <= 64, "{contrast}");
    assert_eq!((found(median / 2), found(largest + 8)), (0, 1), "{contrast}");
    assert!(contrast.to_string().contains(&format!("more than {median} of 255")));
}

#[test]
fn every_direction_is_that_of_the_belt() {
    let belt = belt();
    let mut picture = empty().picture(0, WIDTH);
    for (x, y) in (100..160).flat_map(|x| (40..100).map(move |y| (x, y))) {
        picture.put_pixel(x, y, Rgb([250, 240, 30]));
    }
    let found = |direction, crop_mm| {
        let region = Some(Region::Pixels { x: 50, y: 10, width: 300, height: 200 });
        let looks = Looks { region, direction, mm_per_pixel: 1.0, crop_mm, shortest_mm: 5.0 };
        let mut gate = Gate::new(belt.clone(), looks).unwrap();
        let found = gate.look(&picture).unwrap().to_vec();
        let view = gate.view(&found[0]).map(|view| view.edges(picture.dimensions()).unwrap());
        (found[0].from, found[0].to, view)
    };
    assert_eq!(found(Direction::Right, 80.0), (50, 110, Some([90, 10, 170, 210])));
    assert_eq!(found(Direction::Left, 80.0), (190, 250, Some([90, 10, 170, 210])));
    assert_eq!(found(Direction::Down, 64.0).0, 30);
    assert_eq!(found(Direction::Up, 64.0), (110, 170, Some([50, 38, 350, 102])));
}

#[test]
fn a_belt_that_is_not_empty_is_not_learned() {
    let says = |strip: &Strip, frames| learned(strip, frames).unwrap_err().report();
    assert!(says(empty(), 19).contains("19 different frames"));
    // One part comes by within many frames.
    assert!(says(&strip(&[500]), 60).contains("show something on the belt"));
    let mut learner = Learner::new((WIDTH, 256));
    for k in 0..20 {
        let light = if k % 2 == 0 { 0.4 } else { 1.4 };
        learner.take(&lit(&empty().noisy(i64::from(k) * 31, WIDTH, k), |_| light)).unwrap();
    }
    assert!(learner.finish(&[]).unwrap_err().report().contains("never the same"));
    let mut learner = Learner::new((WIDTH, 256));
    assert!(learner.take(&empty().picture(0, WIDTH)).unwrap() && !learner.take(&empty().picture(0, WIDTH)).unwrap());
    assert!(learner.take(&empty().picture(0, 320)).is_err());
}

#[test]
fn a_file_is_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.toml");
    let belt = belt();
    belt.write(&path).unwrap();
    assert_eq!(EmptyBelt::open(&path).unwrap(), *belt);
    let text = std::fs::read_to_string(&path).unwrap();
    let open = |text: String| {
        std::fs::write(&path, text).unwrap();
        EmptyBelt::open(&path).unwrap_err().report()
    };
    assert!(open(text.replace("width = 640", "width = 641")).contains("SHA-256 is another"));
    assert!(open(text.replace("format_version = 1", "format_version = 2")).contains("update hgad"));
    assert!(open("nonsense".into()).contains("not right"));
}

#[test]
fn a_gate_that_can_show_no_part_is_refused() {
    let belt = belt();
    let refused = |looks| Gate::new(belt.clone(), looks).unwrap_err();
    assert!(refused(Looks { crop_mm: 160.0, ..looks() }).contains("no part would ever be whole"));
    let region = Some(Region::Pixels { x: 0, y: 0, width: 8, height: 100 });
    assert!(refused(Looks { region, ..looks() }).contains("too few"));
    let mut gate = gate();
    assert!(gate.look(&RgbImage::new(320, 240)).unwrap_err().contains("320x240"));
}

#[test]
fn a_part_that_passes_the_middle_is_taken_once_also_when_the_belt_stands() {
    let (mut gate, strip, mut passing) = (gate(), strip(&[1000, 1300, 1560]), Passing::default());
    let places = (900..1500).step_by(31).chain([1495; 4]).chain((1500..2300).step_by(31));
    let mut taken = Vec::new();
    for (k, moved) in places.enumerate() {
        let (number, captured, stamp) = (k as u64, Monotonic::default(), StampSource::EndOfFrame);
        let (origin, product, image, original) = (String::new(), None, strip.noisy(moved, WIDTH, k as u32), None);
        let frame = Frame { number, captured, stamp, origin, product, image, original };
        if let Some(part) = passing.take(&mut gate, &frame).unwrap() {
            assert_eq!(part.image.dimensions(), (256, 256));
            taken.push(moved);
        }
    }
    // The middle of a part's own picture is in that of the gate 448 pixels after its place is at the border.
    assert_eq!(taken.len(), 3, "{taken:?}");
    for (moved, place) in taken.iter().zip([1000, 1300, 1560]) {
        assert!((0..=40).contains(&(moved - place - 448)), "{taken:?}");
    }
}
