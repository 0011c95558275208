//! A turned steel gear with a keyed bore.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DefectKind;
use super::flaw::Flaw;
use super::geometry::{Placement, Point, at, clouds, coverage, noise, rounded_box, smoothstep};
use super::surface::{Texel, mix, scaled};

const TEETH: usize = 14;
const PITCH_RADIUS: f32 = 0.70;
const TOOTH: f32 = 0.082;

/// One gear.
#[derive(Debug, Clone)]
pub(super) struct Gear {
    placement: Placement,
    /// How bright its steel is.
    tone: f32,
    /// How yellow.
    tint: f32,
    /// How deep the lathe's marks are.
    grain: f32,
    /// Where the lamp's streaks lie on the turned faces: they stay with the lamp when the gear turns.
    streaks: f32,
    salt: u32,
}

impl Gear {
    pub(super) fn sample(rng: &mut ChaCha8Rng) -> Self {
        Gear {
            placement: Placement::near_centre(rng, 0.012, 0.03),
            tone: rng.random_range(0.92..1.08),
            tint: rng.random_range(0.0..0.03),
            grain: rng.random_range(0.7..1.2),
            streaks: -2.27 + rng.random_range(-0.08..0.08),
            salt: rng.random(),
        }
    }

    /// A place on the gear where a defect of `kind` may sit.
    pub(super) fn spot(kind: DefectKind, rng: &mut ChaCha8Rng) -> Point {
        let angle = rng.random_range(0.0..TAU);
        match kind {
            DefectKind::BrokenEdge => Point::polar(rng.random_range(0.70..0.77), angle),
            _ => Point::polar(rng.random_range(0.30..0.60), angle),
        }
    }

    pub(super) fn texel(&self, p: Point, under: Texel, flaw: Option<&Flaw>, pixel: f32) -> Texel {
        let q = self.placement.to_part(p);
        let r = q.length();
        if r > 0.85 {
            return under;
        }
        let angle = q.y.atan2(q.x);
        let outline = outline(q, r, angle, flaw);
        let solid = coverage(outline, pixel);
        if solid == 0.0 {
            return under;
        }
        let steel = self.steel(p, r, angle, outline);
        let steel = flaw.map_or(steel, |flaw| flaw.mark(q, steel, pixel));
        under.under(steel, solid)
    }

    /// The turned surface: concentric lathe marks, and the two fans of light that they mirror.
    fn steel(&self, p: Point, r: f32, angle: f32, outline: f32) -> Texel {
        let web = smoothstep(0.27, 0.29, r) * smoothstep(0.615, 0.595, r);
        let fan = (angle - self.streaks).cos().abs();
        let fan = 0.55 * fan.powi(6) + 0.35 * (angle - self.streaks + 0.9).cos().abs().powi(24);
        let turned = noise(r * 95.0, 0.0, self.salt) * 0.65 + noise(r * 230.0, angle * 3.0, self.salt ^ 2) * 0.5;
        let fine = noise(r * 40.0, angle * 9.0, self.salt ^ 3) * 0.3;
        let patina = 1.0 + 0.05 * clouds(p.x * 3.0, p.y * 3.0, self.salt ^ 4);
        let face = 0.27 + 0.20 * fan + 0.032 * self.grain * (turned + fine);
        let blasted = 0.19 + 0.05 * fan + 0.022 * noise(p.x * 95.0, p.y * 95.0, self.salt ^ 6);
        let tone = self.tone * patina * (face + (blasted - face) * web);
        let albedo = mix([tone * 0.97, tone, tone * 1.04], [tone * 1.06, tone, tone * 0.86], self.tint * 8.0);
        let rounded = smoothstep(0.0, -0.028, outline);
        Texel { albedo: scaled(albedo, 0.75 + 0.25 * rounded), height: 0.075 * rounded - 0.032 * web, shine: 0.16 }
    }
}

/// Signed distance from the gear's outline, holes and flaw included.
fn outline(q: Point, r: f32, angle: f32, flaw: Option<&Flaw>) -> f32 {
    let missing = flaw.filter(|flaw| flaw.kind == DefectKind::Missing).map(|flaw| flaw.choice(TEETH));
    let toothed = toothed_rim(r, angle, missing);
    let bore = r - 0.155;
    let keyway = rounded_box(q - at(0.0, -0.17), at(0.042, 0.06), 0.01);
    // Five relief holes: fold the plane into one fifth.
    let fifth = TAU / 5.0;
    let folded = (angle + FRAC_PI_2 + PI).rem_euclid(fifth) - fifth / 2.0;
    let hole = (Point::polar(r, folded) - at(0.44, 0.0)).length() - 0.075;
    let holes = bore.min(keyway).min(hole);
    let bite = flaw.map_or(f32::MAX, |flaw| flaw.bite(q));
    toothed.max(-holes).max(-bite)
}

fn toothed_rim(r: f32, angle: f32, missing: Option<usize>) -> f32 {
    let pitch = TAU / TEETH as f32;
    let turn = angle.rem_euclid(TAU);
    let tooth = (turn / pitch) as usize % TEETH;
    // Trapezoid teeth: a clamped cosine, falling to the root at both ends of a tooth's pitch.
    let wave = (-2.1 * (TEETH as f32 * turn).cos() + 0.1).clamp(-1.0, 1.0);
    let wave = if missing == Some(tooth) { -1.0 } else { wave };
    let flank = if wave.abs() < 1.0 { 0.42 } else { 1.0 };
    (r - PITCH_RADIUS - TOOTH * wave) * flank
}
