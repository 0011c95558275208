//! Points, signed distances and the noise that textures are made of.
//!
//! The picture spans `-1..1` in both directions, x to the right and y down. Distances are negative inside.

use std::ops::{Add, Mul, Sub};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A point or a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

/// The point `(x, y)`.
pub const fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    /// The point at `radius` and `angle` from the origin.
    pub fn polar(radius: f32, angle: f32) -> Self {
        at(radius * angle.cos(), radius * angle.sin())
    }

    /// The distance from the origin.
    pub fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    /// The scalar product.
    pub fn dot(self, other: Point) -> f32 {
        self.x * other.x + self.y * other.y
    }

    /// Turned by `angle` about the origin, from x towards y.
    pub fn rotated(self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        at(self.x * cos - self.y * sin, self.x * sin + self.y * cos)
    }
}

impl Add for Point {
    type Output = Point;
    fn add(self, other: Point) -> Point {
        at(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Point;
    fn sub(self, other: Point) -> Point {
        at(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Point {
    type Output = Point;
    fn mul(self, factor: f32) -> Point {
        at(self.x * factor, self.y * factor)
    }
}

/// Where a part lies on the belt: no two lie alike.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    offset: Point,
    sin: f32,
    cos: f32,
}

impl Placement {
    /// A place within `shift` of the middle, turned by at most `turn` radians.
    pub fn near_centre(rng: &mut ChaCha8Rng, shift: f32, turn: f32) -> Self {
        let offset = at(rng.random_range(-shift..shift), rng.random_range(-shift..shift));
        let (sin, cos) = rng.random_range(-turn..turn).sin_cos();
        Placement { offset, sin, cos }
    }

    /// The part's own coordinates of a point on the belt.
    pub fn to_part(self, p: Point) -> Point {
        let p = p - self.offset;
        at(p.x * self.cos + p.y * self.sin, p.y * self.cos - p.x * self.sin)
    }
}

/// Distance from the segment `a`-`b`.
pub fn segment(p: Point, a: Point, b: Point) -> f32 {
    let (pa, ba) = (p - a, b - a);
    let along = (pa.dot(ba) / ba.dot(ba).max(1e-9)).clamp(0.0, 1.0);
    (pa - ba * along).length()
}

/// Signed distance from a box with half-sides `half` and corners rounded by `round`.
pub fn rounded_box(p: Point, half: Point, round: f32) -> f32 {
    let (x, y) = (p.x.abs() - half.x + round, p.y.abs() - half.y + round);
    at(x.max(0.0), y.max(0.0)).length() + x.max(y).min(0.0) - round
}

/// 0 below `from`, 1 above `to`, smooth between; `from > to` falls instead.
pub fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// How much of a pixel of width `pixel` lies inside a shape at signed distance `distance`.
pub fn coverage(distance: f32, pixel: f32) -> f32 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}

/// A well-mixed 32-bit value of a lattice point (the finaliser of MurmurHash3 over a linear combination).
pub fn hash(x: i32, y: i32, salt: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35) ^ salt;
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^ (h >> 16)
}

/// Smooth noise in `-1..1` with one feature per unit square.
pub fn noise(x: f32, y: f32, salt: u32) -> f32 {
    let (cell_x, cell_y) = (x.floor(), y.floor());
    let (ix, iy) = (cell_x as i32, cell_y as i32);
    let fade = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (fade(x - cell_x), fade(y - cell_y));
    let corner = |dx, dy| hash(ix + dx, iy + dy, salt) as f32 * (2.0 / u32::MAX as f32) - 1.0;
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * tx;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * tx;
    top + (bottom - top) * ty
}

/// Two octaves of [`noise`]: cloudy, with some grain.
pub fn clouds(x: f32, y: f32, salt: u32) -> f32 {
    0.65 * noise(x, y, salt) + 0.35 * noise(2.3 * x, 2.3 * y, salt ^ 0x9e37)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_negative_inside_and_euclidean_outside() {
        assert_eq!(segment(at(0.5, 2.0), at(0.0, 0.0), at(1.0, 0.0)), 2.0);
        assert!((rounded_box(at(3.0, 0.0), at(1.0, 1.0), 0.2) - 2.0).abs() < 1e-6);
        assert!(rounded_box(at(0.0, 0.0), at(1.0, 1.0), 0.2) < -0.9);
        assert_eq!((coverage(-1.0, 0.1), coverage(0.0, 0.1), coverage(1.0, 0.1)), (1.0, 0.5, 0.0));
    }

    #[test]
    fn noise_is_bounded_and_varies() {
        let values = (0..1000).map(|i| noise(i as f32 * 0.37, i as f32 * 0.11, 7)).collect::<Vec<_>>();
        assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
        assert!(values.iter().cloned().fold(f32::MIN, f32::max) > 0.6);
        assert!(values.iter().cloned().fold(f32::MAX, f32::min) < -0.6);
    }
}
