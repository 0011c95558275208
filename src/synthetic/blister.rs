//! A blister pack: eight two-coloured capsules in an embossed foil.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DefectKind;
use super::flaw::Flaw;
use super::geometry::{Placement, Point, at, clouds, coverage, hash, noise, rounded_box, segment, smoothstep};
use super::surface::{Colour, Texel, mix, scaled};

const COLUMNS: usize = 4;
const POCKETS: usize = 2 * COLUMNS;
const HALF: Point = at(0.86, 0.70);
const RADIUS: f32 = 0.098;
const HALF_LENGTH: f32 = 0.135;

/// One pack.
#[derive(Debug, Clone)]
pub(super) struct Blister {
    placement: Placement,
    foil: Colour,
    cap: Colour,
    body: Colour,
    salt: u32,
}

/// Where a point lies within its pocket.
struct Pocket {
    index: usize,
    /// From the pocket's middle.
    local: Point,
}

impl Blister {
    pub(super) fn sample(rng: &mut ChaCha8Rng) -> Self {
        let spread = |rng: &mut ChaCha8Rng, colour: Colour| {
            let tone = rng.random_range(0.94..1.06);
            colour.map(|c| c * tone * rng.random_range(0.97..1.03))
        };
        Blister {
            placement: Placement::near_centre(rng, 0.012, 0.02),
            foil: spread(rng, [0.40, 0.42, 0.45]),
            cap: spread(rng, [0.56, 0.055, 0.045]),
            body: spread(rng, [0.80, 0.66, 0.36]),
            salt: rng.random(),
        }
    }

    /// A place on the pack where a defect of `kind` may sit.
    pub(super) fn spot(kind: DefectKind, rng: &mut ChaCha8Rng) -> Point {
        if kind == DefectKind::BrokenEdge {
            let side = |rng: &mut ChaCha8Rng| if rng.random::<bool>() { 1.0 } else { -1.0 };
            return at(side(rng) * (HALF.x - 0.04), side(rng) * (HALF.y - 0.04));
        }
        at(rng.random_range(-0.66..0.66), rng.random_range(-0.50..0.50))
    }

    pub(super) fn texel(&self, p: Point, under: Texel, flaw: Option<&Flaw>, pixel: f32) -> Texel {
        let q = self.placement.to_part(p);
        let bite = flaw.map_or(f32::MAX, |flaw| flaw.bite(q));
        let outline = rounded_box(q, HALF, 0.07).max(-bite);
        let solid = coverage(outline, pixel);
        if solid == 0.0 {
            return under;
        }
        let mut pack = self.foil(q, outline, pixel);
        let pocket = pocket(q);
        if pocket.local.y.abs() < 0.31 {
            pack = self.filled(&pocket, pack, flaw, pixel);
        }
        let pack = flaw.map_or(pack, |flaw| flaw.mark(q, pack, pixel));
        under.under(pack, solid)
    }

    /// Embossed aluminium with a tear line in the middle.
    fn foil(&self, q: Point, outline: f32, pixel: f32) -> Texel {
        let (u, v) = (q.x + q.y, q.x - q.y);
        let embossed = (u * 62.0).sin() * (v * 62.0).sin();
        let waves = clouds(q.x * 2.6, q.y * 2.6, self.salt);
        let grain = noise(q.x * 110.0, q.y * 110.0, self.salt ^ 1);
        let tone = 1.0 + 0.10 * waves + 0.07 * embossed + 0.03 * grain;
        let foil = Texel {
            albedo: scaled(self.foil, tone),
            height: 0.022 * smoothstep(0.0, -0.025, outline) + 0.0022 * embossed,
            shine: 0.22,
        };
        let dash = rounded_box(at((q.x * 9.0).rem_euclid(1.0) - 0.5, q.y * 9.0), at(0.28, 0.07), 0.03) / 9.0;
        foil.painted([0.10, 0.10, 0.11], 0.85 * coverage(dash, pixel))
    }

    /// The pocket's rim and floor with the capsule in it.
    fn filled(&self, pocket: &Pocket, foil: Texel, flaw: Option<&Flaw>, pixel: f32) -> Texel {
        let half = at(0.0, HALF_LENGTH);
        let wall = segment(pocket.local, at(0.0, -half.y), half) - RADIUS - 0.034;
        let rim = coverage(wall.abs() - 0.012, 2.0 * pixel);
        let floor = coverage(wall + 0.012, pixel);
        let mut base = foil.painted(scaled(self.foil, 0.55), 0.8 * floor);
        base.height += 0.018 * rim - 0.012 * floor;
        base.shine += 0.3 * rim;
        let hit = |kind| flaw.is_some_and(|flaw| flaw.kind == kind && flaw.choice(POCKETS) == pocket.index);
        if hit(DefectKind::Missing) {
            return base;
        }
        let (cap, body) = match hit(DefectKind::MixedUp) {
            true => ([0.05, 0.30, 0.12], [0.10, 0.22, 0.55]),
            false => (self.cap, self.body),
        };
        self.capsule(pocket, base, cap, body, pixel)
    }

    fn capsule(&self, pocket: &Pocket, base: Texel, cap: Colour, body: Colour, pixel: f32) -> Texel {
        // Each capsule has some play in its pocket.
        let chance = |k| hash(pocket.index as i32, k, self.salt) as f32 * (2.0 / u32::MAX as f32) - 1.0;
        let local = (pocket.local - at(0.008 * chance(0), 0.012 * chance(1))).rotated(0.05 * chance(2));
        let upper = local.y < -0.01;
        let radius = if upper { RADIUS } else { RADIUS - 0.007 };
        let distance = segment(local, at(0.0, -HALF_LENGTH), at(0.0, HALF_LENGTH)) - radius;
        let inside = (-distance / radius).clamp(0.0, 1.0);
        let dome = (1.0 - (1.0 - inside) * (1.0 - inside)).sqrt();
        let seam = coverage((local.y + 0.01).abs() - 0.006, pixel);
        let tone = (0.98 + 0.03 * chance(3)) * (0.82 + 0.18 * dome);
        let colour = scaled(if upper { cap } else { body }, tone);
        // A band of the lamp along the gelatine.
        let gloss = smoothstep(0.022, 0.008, (local.x + 0.034).abs()) * smoothstep(0.16, 0.12, local.y.abs());
        let gelatine = Texel {
            albedo: mix(scaled(colour, 1.0 - 0.35 * seam), [0.95, 0.95, 0.92], 0.38 * gloss),
            height: base.height + 0.085 * dome,
            shine: 0.35,
        };
        base.under(gelatine, coverage(distance, pixel))
    }
}

/// The pocket nearest to `q`.
fn pocket(q: Point) -> Pocket {
    let pitch = 0.40;
    let column = (q.x / pitch + COLUMNS as f32 / 2.0).floor().clamp(0.0, COLUMNS as f32 - 1.0);
    let row = if q.y < 0.0 { 0 } else { 1 };
    let centre = at((column + 0.5 - COLUMNS as f32 / 2.0) * pitch, if row == 0 { -0.335 } else { 0.335 });
    Pocket { index: row * COLUMNS + column as usize, local: q - centre }
}
