//! What lies under the camera, before it is lit.

use super::geometry::{Point, at, clouds, noise, smoothstep};

/// A linear RGB colour; 1 is a white sheet of paper.
pub(super) type Colour = [f32; 3];

/// One point of a surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texel {
    /// What it reflects of diffuse light.
    pub(super) albedo: Colour,
    /// How high it stands above the belt, in the picture's units.
    pub(super) height: f32,
    /// How strongly it mirrors the lamp.
    pub(super) shine: f32,
}

impl Texel {
    /// `top` laid over this with opacity `alpha`.
    pub(super) fn under(self, top: Texel, alpha: f32) -> Texel {
        Texel {
            albedo: mix(self.albedo, top.albedo, alpha),
            height: self.height + (top.height - self.height) * alpha,
            shine: self.shine + (top.shine - self.shine) * alpha,
        }
    }

    /// This surface painted with `colour`.
    pub(super) fn painted(self, colour: Colour, alpha: f32) -> Texel {
        Texel { albedo: mix(self.albedo, colour, alpha), ..self }
    }
}

/// From `a` to `b`.
pub(super) fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t)
}

/// `colour` made brighter or darker.
pub(super) fn scaled(colour: Colour, factor: f32) -> Colour {
    colour.map(|c| c * factor)
}

/// The mat of the carrier that a part rides on: two-way ribs, wear, dust. Every product has carriers of its own colour, so
/// that nobody puts it on another's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mat {
    /// Where on the mat the part lies.
    pub(super) travelled: Point,
    /// The mat's colour.
    pub(super) colour: Colour,
    /// Which mat.
    pub(super) salt: u32,
}

impl Mat {
    pub(super) fn texel(&self, p: Point) -> Texel {
        let q = p + self.travelled;
        let weave = (q.x * 88.0).sin() * (q.y * 88.0).sin();
        let wear = clouds(q.x * 2.5, q.y * 0.8, self.salt);
        let dust = smoothstep(0.72, 0.95, noise(q.x * 40.0, q.y * 40.0, self.salt ^ 1)) * 0.02;
        let tone = 1.0 + 0.11 * wear + 0.13 * weave;
        Texel { albedo: self.colour.map(|c| c * tone + dust), height: 0.0012 * weave, shine: 0.05 }
    }
}

/// A Texel per pixel, in rows.
pub(super) struct Field {
    pub(super) size: usize,
    pub(super) texels: Vec<Texel>,
}

impl Field {
    /// Samples `texel` at the centre of every pixel.
    pub(super) fn sample(size: usize, texel: impl Fn(Point) -> Texel) -> Self {
        let centre = |i: usize| (2 * i + 1) as f32 / size as f32 - 1.0;
        let mut texels = Vec::with_capacity(size * size);
        for y in 0..size {
            texels.extend((0..size).map(|x| texel(at(centre(x), centre(y)))));
        }
        Field { size, texels }
    }
}
