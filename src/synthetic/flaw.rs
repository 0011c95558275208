//! What can go wrong with a part: shapes that are laid on its surface or cut out of it.

use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DefectKind;
use super::geometry::{Point, at, coverage, hash, noise, segment, smoothstep};
use super::surface::{Colour, Texel, mix, scaled};

/// One defect of one part, in the part's own coordinates.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    pub(super) kind: DefectKind,
    /// Where it is.
    centre: Point,
    /// Its radius or half length.
    size: f32,
    /// Its direction; for flaws of a part's own features (a tooth, a pocket, the print) their source of chance.
    angle: f32,
    /// How strong it is, 0..1.
    depth: f32,
    colour: Colour,
    salt: u32,
}

impl Flaw {
    /// A flaw of `kind` at `centre`. `force` grows from 0 while a flaw is not yet seen at a glance.
    pub(super) fn sample(kind: DefectKind, centre: Point, force: f32, rng: &mut ChaCha8Rng) -> Self {
        let size = match kind {
            DefectKind::Scratch => rng.random_range(0.28..0.42),
            DefectKind::Dent => rng.random_range(0.13..0.18),
            DefectKind::Stain => rng.random_range(0.15..0.22),
            DefectKind::ForeignBody => rng.random_range(0.13..0.17),
            DefectKind::BrokenEdge => rng.random_range(0.18..0.24),
            DefectKind::Missing | DefectKind::MixedUp | DefectKind::Misprint => 1.0,
        };
        let soils = [[0.16, 0.07, 0.01], [0.02, 0.015, 0.01], [0.33, 0.16, 0.01], [0.30, 0.03, 0.02]];
        let bodies = [[0.55, 0.07, 0.05], [0.05, 0.05, 0.05], [0.05, 0.16, 0.45], [0.60, 0.42, 0.05]];
        let palette = if kind == DefectKind::ForeignBody { bodies } else { soils };
        Flaw {
            kind,
            centre,
            size: size * (1.0 + 0.4 * force),
            angle: rng.random_range(0.0..TAU),
            depth: (rng.random_range(0.75..1.0) + 0.3 * force).min(1.0),
            colour: palette[rng.random_range(0..palette.len())],
            salt: rng.random(),
        }
    }

    /// One of `count` equal features of the part, the one that this flaw hits.
    pub(super) fn choice(&self, count: usize) -> usize {
        hash(0, 0, self.salt) as usize % count
    }

    /// A number in `-1..1` that belongs to this flaw.
    pub(super) fn chance(&self, index: i32) -> f32 {
        hash(index, 1, self.salt) as f32 * (2.0 / u32::MAX as f32) - 1.0
    }

    /// Signed distance from the piece that is broken off; far away for all other kinds.
    pub(super) fn bite(&self, q: Point) -> f32 {
        if self.kind != DefectKind::BrokenEdge {
            return f32::MAX;
        }
        let jagged = 0.28 * noise(q.x * 14.0, q.y * 14.0, self.salt) + 0.16 * noise(q.x * 31.0, q.y * 31.0, self.salt);
        (q - self.centre).length() - self.size * (1.0 + jagged)
    }

    /// The surface `on` at `q` with this flaw laid on it.
    pub(super) fn mark(&self, q: Point, on: Texel, pixel: f32) -> Texel {
        let local = (q - self.centre).rotated(-self.angle);
        if local.length() > 2.0 * self.size {
            return on;
        }
        match self.kind {
            DefectKind::Scratch => self.scratch(local, on, pixel),
            DefectKind::Dent => self.dent(local, on),
            DefectKind::Stain => self.stain(local, on),
            DefectKind::ForeignBody => self.foreign_body(local, on, pixel),
            DefectKind::BrokenEdge | DefectKind::Missing | DefectKind::MixedUp | DefectKind::Misprint => on,
        }
    }

    /// A bent groove with a bright burr: bare material on a dark part, a dark furrow on a bright one.
    fn scratch(&self, p: Point, on: Texel, pixel: f32) -> Texel {
        let bend = 0.35 * self.size * (p.x / self.size).powi(2) * self.chance(0);
        let wobble = 0.010 * noise(p.x * 30.0, 0.0, self.salt);
        let end = segment(p - at(0.0, bend + wobble), at(-self.size, 0.0), at(self.size, 0.0));
        let width = 0.022 + 0.010 * self.depth;
        let groove = coverage(end - width, 1.5 * pixel) * self.depth;
        let burr = coverage((end - width - 0.012).abs() - 0.007, 1.5 * pixel) * 0.7;
        let bright = on.albedo.iter().sum::<f32>() / 3.0 > 0.33;
        let (furrow, edge) = if bright { ([0.05, 0.045, 0.04], 1.35) } else { ([0.75, 0.75, 0.72], 0.45) };
        let mut scratched = on.painted(scaled(on.albedo, edge), burr).painted(furrow, groove);
        scratched.height += 0.006 * burr - 0.014 * groove;
        scratched
    }

    fn dent(&self, p: Point, on: Texel) -> Texel {
        let p = at(p.x, p.y * (1.0 + 0.35 * self.chance(0)));
        let r = p.length() / self.size;
        let bowl = smoothstep(1.0, 0.15, r);
        let rim = smoothstep(0.75, 0.95, r) * smoothstep(1.25, 1.0, r);
        // Material that was bent too far turns pale at the rim, and the bowl lies in its own shade.
        let dented = on.painted(scaled(on.albedo, 0.3), bowl * 0.85 * self.depth);
        let mut dented = dented.painted([0.80, 0.80, 0.78], rim * 0.75 * self.depth);
        dented.height += self.size * self.depth * (0.08 * rim - 0.65 * bowl);
        dented
    }

    /// Oil or dirt: a ragged blot, darker where it dried at its border.
    fn stain(&self, p: Point, on: Texel) -> Texel {
        let ragged = 0.45 * noise(p.x * 9.0, p.y * 9.0, self.salt) + 0.15 * noise(p.x * 25.0, p.y * 25.0, self.salt);
        let r = p.length() / self.size - ragged;
        let body = smoothstep(1.0, 0.85, r);
        let border = body * smoothstep(0.55, 0.9, r);
        let alpha = self.depth * (0.86 * body + 0.14 * border);
        let mut stained = on.painted(mix(self.colour, scaled(on.albedo, 0.2), 0.15), alpha);
        stained.shine *= 1.0 - 0.6 * body;
        stained
    }

    /// A crumb or a piece of thread that lies on the part and throws a shadow.
    fn foreign_body(&self, p: Point, on: Texel, pixel: f32) -> Texel {
        let (distance, height) = if self.chance(1) < 0.0 {
            let facets = 0.25 * noise(p.x * 12.0, p.y * 12.0, self.salt);
            let d = p.length() - self.size * 0.8 * (1.0 + facets);
            (d, 0.11 * smoothstep(0.0, -0.7 * self.size, d) + 0.015 * noise(p.x * 24.0, p.y * 24.0, self.salt ^ 5))
        } else {
            let curl = self.size * (p.x / self.size * 2.6).sin() * 0.45;
            let d = segment(p - at(0.0, curl), at(-1.7 * self.size, 0.0), at(1.7 * self.size, 0.0)) * 0.85 - 0.024;
            (d, 0.06)
        };
        let fleck = 1.0 + 0.25 * noise(p.x * 40.0, p.y * 40.0, self.salt);
        let body =
            Texel { albedo: scaled(self.colour, fleck), height: on.height.max(0.0) + height.max(0.0), shine: 0.25 };
        on.under(body, coverage(distance, 1.5 * pixel))
    }
}
