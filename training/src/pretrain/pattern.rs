//! What the backbone learns to tell apart: families of textures and shapes, in random colours, scales and directions.

use std::f32::consts::TAU;

use hgad::synthetic::geometry::{Point, at, clouds, hash, noise, rounded_box, segment, smoothstep};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pixels per side of a training patch.
pub const PATCH: usize = 48;

/// How many families there are.
pub const FAMILIES: usize = 20;

/// The colours of patterns, RGB 0..1; a patch shows two of them.
pub const COLOURS: [[f32; 3]; 8] = [
    [0.10, 0.10, 0.10],
    [0.90, 0.90, 0.88],
    [0.50, 0.50, 0.50],
    [0.80, 0.15, 0.12],
    [0.15, 0.60, 0.20],
    [0.12, 0.25, 0.75],
    [0.85, 0.75, 0.15],
    [0.10, 0.60, 0.65],
];

/// A patch with its labels.
pub struct Patch {
    /// `(3, PATCH, PATCH)`, 0..255.
    pub pixels: Vec<f32>,
    /// Which family its pattern is of.
    pub family: usize,
    /// The two of [`COLOURS`] that it shows.
    pub colours: [usize; 2],
}

/// One pattern's chance: scale, direction, phase.
struct Draw {
    frequency: f32,
    angle: f32,
    offset: Point,
    /// Two free numbers in `0..1`.
    free: [f32; 2],
    salt: u32,
}

impl Patch {
    /// Patch `index` of the endless set that belongs to `seed`.
    pub fn sample(seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let family = rng.random_range(0..FAMILIES);
        let first = rng.random_range(0..COLOURS.len());
        let colours = [first, (first + rng.random_range(1..COLOURS.len())) % COLOURS.len()];
        let draw = Draw {
            frequency: rng.random_range(1.5..5.0),
            angle: rng.random_range(0.0..TAU),
            offset: at(rng.random_range(-0.4..0.4), rng.random_range(-0.4..0.4)),
            free: [rng.random(), rng.random()],
            salt: rng.random(),
        };
        Patch { pixels: paint(family, colours, &draw, &mut rng), family, colours }
    }
}

/// The pattern in its two colours, under uneven light, with a grainy surface and sensor noise.
fn paint(family: usize, colours: [usize; 2], draw: &Draw, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut shade = |colour: usize| COLOURS[colour].map(|c| (c + rng.random_range(-0.07..0.07f32)).max(0.02));
    let (ground, figure) = (shade(colours[0]), shade(colours[1]));
    let contrast = rng.random_range(0.55..1.0f32);
    let gain = rng.random_range(0.75..1.15f32);
    let light = Point::polar(rng.random_range(0.0..0.2), rng.random_range(0.0..TAU));
    let grain = rng.random_range(0.0..0.05f32);
    let sensor = rng.random_range(0.0..0.03f32);
    let mut pixels = vec![0.0; 3 * PATCH * PATCH];
    for i in 0..PATCH * PATCH {
        let p = at((i % PATCH) as f32, (i / PATCH) as f32) * (2.0 / PATCH as f32) - at(1.0, 1.0);
        let ink = contrast * ink(family, (p - draw.offset).rotated(draw.angle), draw);
        let level = gain * (1.0 + light.dot(p)) * (1.0 + grain * noise(p.x * 20.0, p.y * 20.0, draw.salt ^ 77));
        for c in 0..3 {
            let random = hash(i as i32, c as i32, draw.salt) as f32 / u32::MAX as f32 * 2.0 - 1.0;
            let value = (ground[c] + (figure[c] - ground[c]) * ink) * level + sensor * 1.7 * random;
            pixels[c * PATCH * PATCH + i] = (255.0 * value).clamp(0.0, 255.0);
        }
    }
    pixels
}

/// How much of the figure's colour a pattern has at `q`, 0..1.
fn ink(family: usize, q: Point, draw: &Draw) -> f32 {
    let (f, salt, [a, b]) = (draw.frequency, draw.salt, draw.free);
    let edge = |distance: f32| smoothstep(0.03, -0.03, distance);
    let wave = |x: f32| 0.5 + 0.5 * (TAU * x).sin();
    let cell = |x: f32| (x * f).rem_euclid(1.0) - 0.5;
    let random = |k: i32, n: i32| hash(k, n, salt) as f32 / u32::MAX as f32 * 2.0 - 1.0;
    let (size, thin) = (0.25 + 0.3 * a, 0.03 + 0.05 * b);
    match family {
        // Textures.
        0 => wave(q.x * f),
        1 => edge((cell(q.x).abs() - 0.15 - 0.2 * a) / f),
        2 => edge(if (cell(q.x) > 0.0) == (cell(q.y) > 0.0) { -0.1 } else { 0.1 }),
        3 => edge((at(cell(q.x), cell(q.y)).length() - 0.2 - 0.15 * a) / f),
        4 => wave(q.length() * f),
        5 => smoothstep(-0.7, 0.7, noise(q.x * 22.0, q.y * 22.0, salt)),
        6 => smoothstep(-0.6, 0.6, noise(q.x * 9.0, q.y * 9.0, salt)),
        7 => smoothstep(-0.4, 0.4, clouds(q.x * 2.5, q.y * 2.5, salt)),
        8 => smoothstep(-0.8, 0.8, noise(q.x * 4.0, q.y * 30.0, salt)),
        9 => {
            let row = (q.y * f).floor();
            let brick = at(cell(q.x * 0.5 + 0.25 * (row.rem_euclid(2.0)) * 2.0 / f), cell(q.y));
            edge(rounded_box(brick, at(0.44, 0.38), 0.05) / f)
        }
        10 => 0.5 * wave(q.x * f) + 0.5 * wave(q.y * f),
        11 => wave(q.x * f + (0.15 + 0.2 * a) * (TAU * q.y * (1.0 + b)).sin()),
        12 => smoothstep(0.55, 0.75, noise(q.x * 12.0, q.y * 12.0, salt)),
        // Shapes.
        13 => edge(q.x),
        14 => smoothstep(-1.0, 1.0, q.x),
        15 => edge(q.length() - size),
        16 => edge((q.length() - size).abs() - thin),
        17 => edge(rounded_box(q, at(size, size * (0.5 + 0.5 * b)), 0.05 * a)),
        18 => {
            let stroke = |k| segment(q, at(random(k, 0), random(k, 1)), at(random(k, 2), random(k, 3)));
            edge((0..3).map(stroke).fold(f32::MAX, f32::min) - thin)
        }
        _ => {
            let ragged = 0.4 * noise(q.x * 5.0, q.y * 5.0, salt) + 0.2 * noise(q.x * 13.0, q.y * 13.0, salt);
            edge(q.length() - size * (1.0 + ragged))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_comes_and_none_is_flat() {
        let patches = (0..600).map(|index| Patch::sample(3, index)).collect::<Vec<_>>();
        for family in 0..FAMILIES {
            let of_family = patches.iter().filter(|patch| patch.family == family).collect::<Vec<_>>();
            assert!(!of_family.is_empty(), "family {family} never comes");
            let spread = |patch: &&Patch| {
                let red = &patch.pixels[..PATCH * PATCH];
                let mean = red.iter().sum::<f32>() / red.len() as f32;
                red.iter().map(|value| (value - mean).abs()).sum::<f32>() / red.len() as f32
            };
            assert!(of_family.iter().map(spread).fold(0.0, f32::max) > 5.0, "family {family} is flat");
        }
        assert_eq!(Patch::sample(3, 7).pixels, patches[7].pixels);
    }
}
