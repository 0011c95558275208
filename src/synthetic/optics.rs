//! Lamp, lens and sensor: from a surface to 8-bit pixels.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::geometry::{Point, at, hash};
use super::surface::Field;

/// The light and the camera in the moment of one exposure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exposure {
    /// Brightness of the whole picture.
    gain: f32,
    /// Warmth of the light: red up, blue down.
    warmth: f32,
    /// How the light falls off across the picture.
    gradient: Point,
    /// Where the lamp stands, per unit of height.
    lamp: Point,
    /// Weight of a pixel's neighbours in the lens's blur.
    blur: f32,
    /// Noise of the sensor in the dark.
    read_noise: f32,
    salt: u32,
}

const AMBIENT: f32 = 0.42;

impl Exposure {
    pub(super) fn sample(rng: &mut ChaCha8Rng) -> Self {
        let fall_off = Point::polar(rng.random_range(0.0..0.06), rng.random_range(0.0..std::f32::consts::TAU));
        Exposure {
            gain: rng.random_range(0.95..1.05),
            warmth: rng.random_range(-0.02..0.02),
            gradient: fall_off,
            lamp: at(-0.62 + rng.random_range(-0.06..0.06), -0.74 + rng.random_range(-0.06..0.06)),
            blur: rng.random_range(0.06..0.16),
            read_noise: rng.random_range(0.004..0.008),
            salt: rng.random(),
        }
    }

    /// The light that reaches the sensor, linear RGB, row by row: noise comes later, so that two surfaces can be compared.
    pub(super) fn light(&self, field: &Field) -> Vec<[f32; 3]> {
        let size = field.size;
        let heights = field.texels.iter().map(|texel| texel.height).collect::<Vec<_>>();
        let norm = (self.lamp.dot(self.lamp) + 1.0).sqrt();
        let lamp = [self.lamp.x / norm, self.lamp.y / norm, 1.0 / norm];
        // Blinn's half-way vector between the lamp and the camera, which looks straight down.
        let half_norm = (lamp[0] * lamp[0] + lamp[1] * lamp[1] + (lamp[2] + 1.0) * (lamp[2] + 1.0)).sqrt();
        let half = [lamp[0] / half_norm, lamp[1] / half_norm, (lamp[2] + 1.0) / half_norm];
        let mut light = Vec::with_capacity(size * size);
        for y in 0..size {
            for x in 0..size {
                let texel = &field.texels[y * size + x];
                let slope = slope_at(&heights, size, x, y);
                let length = (slope.dot(slope) + 1.0).sqrt();
                let facing = |v: [f32; 3]| ((v[2] - slope.x * v[0] - slope.y * v[1]) / length).max(0.0);
                let lit = 1.0 - self.shadow_at(&heights, size, x, y);
                let diffuse = AMBIENT + (1.0 - AMBIENT) * lit * facing(lamp) / lamp[2];
                let mirror = texel.shine * lit * facing(half).powi(28);
                let p = at(2.0 * x as f32 / size as f32 - 1.0, 2.0 * y as f32 / size as f32 - 1.0);
                let level = self.gain * (1.0 + self.gradient.dot(p)) * (1.0 - 0.05 * p.dot(p));
                let tint = [1.0 + self.warmth, 1.0, 1.0 - self.warmth];
                light.push(std::array::from_fn(|c| level * tint[c] * (texel.albedo[c] * diffuse + mirror)));
            }
        }
        self.blurred(&light, size)
    }

    /// How deep a pixel lies in the shadow of what stands between it and the lamp, 0..1.
    fn shadow_at(&self, heights: &[f32], size: usize, x: usize, y: usize) -> f32 {
        const STEPS: usize = 5;
        let (here, pixel) = (heights[y * size + x], 2.0 / size as f32);
        let reach = 0.11 / STEPS as f32;
        let mut deepest = 0f32;
        for step in 1..=STEPS {
            let rise = step as f32 * reach;
            let (sx, sy) = (x as f32 + self.lamp.x * rise / pixel, y as f32 + self.lamp.y * rise / pixel);
            if sx < 0.0 || sy < 0.0 {
                break;
            }
            let above = heights[(sy as usize).min(size - 1) * size + (sx as usize).min(size - 1)] - here - rise;
            deepest = deepest.max(above);
        }
        (deepest / 0.05).min(1.0) * 0.75
    }

    /// A 3x3 binomial-like blur, separable.
    fn blurred(&self, light: &[[f32; 3]], size: usize) -> Vec<[f32; 3]> {
        let (side, centre) = (self.blur, 1.0 - 2.0 * self.blur);
        let pass = |from: &[[f32; 3]], stride: usize, along: fn(usize, usize) -> usize| -> Vec<[f32; 3]> {
            let neighbour = |i: usize, forward: bool| match (along(i, size), forward) {
                (0, false) => i,
                (k, true) if k + 1 == size => i,
                (_, true) => i + stride,
                (_, false) => i - stride,
            };
            (0..from.len())
                .map(|i| {
                    let (before, after) = (from[neighbour(i, false)], from[neighbour(i, true)]);
                    std::array::from_fn(|c| centre * from[i][c] + side * (before[c] + after[c]))
                })
                .collect()
        };
        let rows = pass(light, 1, |i, size| i % size);
        pass(&rows, size, |i, size| i / size)
    }

    /// What the sensor makes of `light`: shot and read noise, gamma, 8 bits.
    pub(super) fn expose(&self, light: &[[f32; 3]], size: usize) -> RgbImage {
        let pixels = light.iter().enumerate().flat_map(|(i, rgb)| {
            let grain = hash(i as i32, 0, self.salt);
            std::array::from_fn::<u8, 3, _>(|c| {
                // The sum of three uniform values is close enough to a normal one; 1 / sqrt(3 / 12) brings it to unit variance.
                let bits = hash(grain as i32, c as i32, self.salt);
                let uniform = (bits & 1023) + (bits >> 10 & 1023) + (bits >> 20 & 1023);
                let normal = (uniform as f32 / 1023.0 - 1.5) * 2.0;
                let sigma = self.read_noise * (1.0 + 2.0 * rgb[c].max(0.0)).sqrt();
                (gamma(rgb[c]) + normal * sigma).mul_add(255.0, 0.5).clamp(0.0, 255.0) as u8
            })
        });
        RgbImage::from_raw(size as u32, size as u32, pixels.collect()).expect("one pixel per point of the square field")
    }
}

/// The transfer curve: a square root with a soft shoulder, so that highlights do not clip to flat patches.
pub(super) fn gamma(linear: f32) -> f32 {
    let level = linear.max(0.0);
    (level / (1.0 + 0.18 * level * level)).sqrt().min(1.0)
}

fn slope_at(heights: &[f32], size: usize, x: usize, y: usize) -> Point {
    let row = &heights[y * size..(y + 1) * size];
    let (left, right) = (row[x.saturating_sub(1)], row[(x + 1).min(size - 1)]);
    let above = heights[y.saturating_sub(1) * size + x];
    let below = heights[(y + 1).min(size - 1) * size + x];
    at(right - left, below - above) * (0.25 * size as f32)
}
