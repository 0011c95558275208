//! A printed plastic screw cap.

use std::f32::consts::{FRAC_PI_2, TAU};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DefectKind;
use super::flaw::Flaw;
use super::geometry::{Placement, Point, at, clouds, coverage, noise, segment, smoothstep};
use super::surface::{Colour, Texel, scaled};

const RADIUS: f32 = 0.78;

/// The strokes of the print's four letters in a box of width 0.7 and height 1, x to the right, y down.
const LETTERS: [&[[f32; 4]]; 4] = [
    &[[0.0, 0.0, 0.0, 1.0], [0.6, 0.0, 0.6, 1.0], [0.0, 0.5, 0.6, 0.5]],
    &[
        [0.62, 0.12, 0.42, 0.0],
        [0.42, 0.0, 0.18, 0.0],
        [0.18, 0.0, 0.0, 0.2],
        [0.0, 0.2, 0.0, 0.8],
        [0.0, 0.8, 0.18, 1.0],
        [0.18, 1.0, 0.62, 1.0],
        [0.62, 1.0, 0.62, 0.55],
        [0.62, 0.55, 0.36, 0.55],
    ],
    &[[0.0, 1.0, 0.31, 0.0], [0.31, 0.0, 0.62, 1.0], [0.12, 0.66, 0.50, 0.66]],
    &[
        [0.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 0.35, 0.0],
        [0.35, 0.0, 0.62, 0.25],
        [0.62, 0.25, 0.62, 0.75],
        [0.62, 0.75, 0.35, 1.0],
        [0.35, 1.0, 0.0, 1.0],
    ],
];

/// One cap.
#[derive(Debug, Clone)]
pub(super) struct Cap {
    placement: Placement,
    plastic: Colour,
    ink: Colour,
    /// How far the pad printer was off.
    register: Point,
    salt: u32,
}

impl Cap {
    pub(super) fn sample(rng: &mut ChaCha8Rng) -> Self {
        let tone = rng.random_range(0.92..1.08);
        Cap {
            placement: Placement::near_centre(rng, 0.012, 0.03),
            plastic: [0.012, 0.20, 0.30].map(|c| c * tone * rng.random_range(0.95..1.05)),
            ink: [0.86, 0.86, 0.82].map(|c| c * rng.random_range(0.96..1.04)),
            register: at(rng.random_range(-0.005..0.005), rng.random_range(-0.005..0.005)),
            salt: rng.random(),
        }
    }

    /// A place on the cap where a defect of `kind` may sit.
    pub(super) fn spot(kind: DefectKind, rng: &mut ChaCha8Rng) -> Point {
        let angle = rng.random_range(0.0..TAU);
        match kind {
            DefectKind::BrokenEdge => Point::polar(rng.random_range(0.73..0.79), angle),
            _ => Point::polar(rng.random_range(0.0..0.52), angle),
        }
    }

    pub(super) fn texel(&self, p: Point, under: Texel, flaw: Option<&Flaw>, pixel: f32) -> Texel {
        let q = self.placement.to_part(p);
        let r = q.length();
        if r > RADIUS + 0.05 {
            return under;
        }
        let angle = q.y.atan2(q.x);
        let knurl = 0.010 * (64.0 * angle).cos();
        let bite = flaw.map_or(f32::MAX, |flaw| flaw.bite(q));
        let outline = (r - RADIUS - knurl).max(-bite);
        let solid = coverage(outline, pixel);
        if solid == 0.0 {
            return under;
        }
        let cap = self.moulded(q, r, angle, outline);
        let cap = cap.painted(self.ink, 0.95 * self.printed(q, flaw, pixel));
        let cap = flaw.map_or(cap, |flaw| flaw.mark(q, cap, pixel));
        under.under(cap, solid)
    }

    /// Knurled flank, raised bead, dished top.
    fn moulded(&self, q: Point, r: f32, angle: f32, outline: f32) -> Texel {
        let flank = smoothstep(0.655, 0.675, r);
        let ribs = 0.5 + 0.5 * (64.0 * angle).cos();
        let bead = smoothstep(0.60, 0.625, r) * smoothstep(0.665, 0.64, r);
        let dish = smoothstep(0.60, 0.52, r);
        let tone =
            1.0 + 0.06 * clouds(q.x * 4.0, q.y * 4.0, self.salt) + 0.05 * noise(q.x * 90.0, q.y * 90.0, self.salt ^ 1);
        let height =
            0.09 * smoothstep(0.0, -0.10, outline) + 0.016 * bead - 0.022 * dish - 0.012 * flank * (1.0 - ribs);
        Texel { albedo: scaled(self.plastic, tone * (1.0 - 0.35 * flank * (1.0 - ribs))), height, shine: 0.30 }
    }

    /// How much ink lies at `q`, 0..1.
    fn printed(&self, q: Point, flaw: Option<&Flaw>, pixel: f32) -> f32 {
        let q = q - self.register;
        let Some(flaw) = flaw.filter(|flaw| flaw.kind == DefectKind::Misprint) else {
            return coverage(print(q), 1.3 * pixel);
        };
        match flaw.choice(3) {
            // Off register.
            0 => {
                let shift = Point::polar(0.12 + 0.04 * flaw.chance(2), 3.2 * flaw.chance(3));
                coverage(print((q - shift).rotated(0.3 * flaw.chance(4))), 1.3 * pixel)
            }
            // The pad did not touch one side.
            1 => {
                let side = q.dot(Point::polar(1.0, 3.2 * flaw.chance(3)));
                let patchy = 0.06 * noise(q.x * 12.0, q.y * 12.0, self.salt);
                coverage(print(q), 1.3 * pixel) * smoothstep(0.06, -0.04, side + patchy)
            }
            // Printed twice.
            _ => {
                let shift = Point::polar(0.075 + 0.015 * flaw.chance(2), 3.2 * flaw.chance(3));
                coverage(print(q).min(print(q - shift)), 1.3 * pixel)
            }
        }
    }
}

/// Signed distance from the print: the word between two arcs, a drop above it and three dots below.
fn print(q: Point) -> f32 {
    let r = q.length();
    if r > 0.56 {
        return 1.0;
    }
    // Open at the left and right, where the word ends.
    let opening = 0.17 - q.y.abs();
    let ring = ((r - 0.465).abs() - 0.020).max(opening);
    ring.min(word(q)).min(ornament(q))
}

fn word(q: Point) -> f32 {
    if q.y.abs() > 0.17 {
        return q.y.abs() - 0.12;
    }
    let (height, advance) = (0.22, 0.215);
    let left = -1.94 * advance + 0.02;
    let index = ((q.x - left) / advance).floor().clamp(0.0, 3.0);
    let local = at(q.x - left - index * advance, q.y + height / 2.0) * (1.0 / height);
    let strokes = LETTERS[index as usize].iter();
    let nearest = strokes.map(|s| segment(local, at(s[0], s[1]), at(s[2], s[3]))).fold(f32::MAX, f32::min);
    nearest * height - 0.021
}

fn ornament(q: Point) -> f32 {
    let dots = at((q.x / 0.1).clamp(-1.4, 1.4).round() * 0.1, 0.27);
    let dots = (q - dots).length() - 0.026;
    let star = q - at(0.0, -0.28);
    // A five-pointed star: fold into half a point, then the distance from its edge.
    let fifth = TAU / 5.0;
    let angle = (star.y.atan2(star.x) + FRAC_PI_2).rem_euclid(fifth);
    let folded = Point::polar(star.length(), angle.min(fifth - angle));
    let (tip, notch) = (at(0.105, 0.0), Point::polar(0.044, fifth / 2.0));
    let edge = at(notch.y - tip.y, tip.x - notch.x);
    let edge = edge * (1.0 / edge.length());
    dots.min((folded - tip).dot(edge))
}
