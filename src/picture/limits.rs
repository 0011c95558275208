//! What a picture may be like, from pictures of normal parts, and what is wrong with one that is not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Statistics;

/// What is normal ends where so large a share of the normals' pictures lies beyond it. The last ones of few pictures say little of
/// those to come, and much of the one among them that was dark.
const TAIL: f64 = 0.05;
/// A limit lies as far beyond that end as the end lies from the median: of values whose logarithms are normally distributed one in
/// two thousand is beyond a limit. But it lies at least at these shares of the end, since light and focus may change a little from
/// day to day.
const LEAST_DARKER: f32 = 0.75;
const LEAST_BRIGHTER: f32 = 1.0 / LEAST_DARKER;
const LEAST_BLURRED: f32 = 0.6;
/// Beyond what is normal, so large a share of the pixels may be saturated.
const LEAST_SATURATED: f32 = 0.1;

/// What pictures of parts may be like. Outside of it the camera or the light has a fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// A mean luma below the first is too dark, above the second too bright.
    pub brightness: (f32, f32),
    /// A larger share of saturated pixels is too bright.
    pub saturated: f32,
    /// A lower sharpness is out of focus.
    pub sharpness: f32,
}

/// Why a picture cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Its mean luma, and the least that is allowed.
    TooDark(f32, f32),
    /// Its mean luma, and the largest that is allowed.
    TooBright(f32, f32),
    /// The share of its pixels that are saturated, and the largest that is allowed.
    Overexposed(f32, f32),
    /// Its sharpness, and the least that is allowed.
    OutOfFocus(f32, f32),
    /// It came before, bit for bit.
    Frozen,
}

impl Limits {
    /// The mean brightness that pictures may have, of what 8 bits can say.
    pub fn allowed_brightness(&self) -> (f32, f32) {
        (self.brightness.0, self.brightness.1.min(255.0))
    }

    /// Limits for pictures that are as these of normal parts; none without a picture. A single one of them that is not like the
    /// others may lie outside.
    pub fn fit(normals: &[Statistics]) -> Option<Self> {
        // Light and focus act as factors, so their spread is one of ratios.
        let light = Spread::of(normals, |picture| picture.brightness.max(f32::MIN_POSITIVE).ln())?;
        let focus = Spread::of(normals, |picture| picture.sharpness.max(f32::MIN_POSITIVE).ln())?;
        let saturated = Spread::of(normals, |picture| picture.saturated)?;
        Some(Limits {
            brightness: (light.lower(-LEAST_DARKER.ln()).exp(), light.upper(LEAST_BRIGHTER.ln()).exp()),
            saturated: saturated.upper(LEAST_SATURATED),
            sharpness: focus.lower(-LEAST_BLURRED.ln()).exp(),
        })
    }

    /// The share of these pictures that would be too dark with so large a share of their light.
    pub fn would_see(&self, light: f32, pictures: &[Statistics]) -> f64 {
        let dark = pictures.iter().filter(|picture| light * picture.brightness < self.brightness.0);
        dark.count() as f64 / pictures.len().max(1) as f64
    }

    /// What is wrong with a picture.
    pub fn fault(&self, picture: &Statistics) -> Option<Fault> {
        let (dark, bright) = self.brightness;
        if picture.brightness.max(f32::MIN_POSITIVE) < dark {
            return Some(Fault::TooDark(picture.brightness, dark));
        }
        if picture.brightness > bright {
            return Some(Fault::TooBright(picture.brightness, bright));
        }
        if picture.saturated > self.saturated {
            return Some(Fault::Overexposed(picture.saturated, self.saturated));
        }
        (picture.sharpness.max(f32::MIN_POSITIVE) < self.sharpness)
            .then_some(Fault::OutOfFocus(picture.sharpness, self.sharpness))
    }
}

/// How a number of normal pictures spreads.
struct Spread {
    low: f32,
    median: f32,
    high: f32,
}

impl Spread {
    fn of(pictures: &[Statistics], value: impl Fn(&Statistics) -> f32) -> Option<Self> {
        let mut values = pictures.iter().map(value).collect::<Vec<_>>();
        values.sort_by(f32::total_cmp);
        let last = values.len().checked_sub(1)?;
        let beyond = (TAIL * last as f64) as usize;
        Some(Spread { low: values[beyond], median: values[last / 2], high: values[last - beyond] })
    }

    /// The limit below, at least so far below what is normal.
    fn lower(&self, least: f32) -> f32 {
        self.low - (self.median - self.low).max(least)
    }

    fn upper(&self, least: f32) -> f32 {
        self.high + (self.high - self.median).max(least)
    }
}

impl Fault {
    /// The fault as one word, which records have.
    pub fn as_str(&self) -> &'static str {
        match self {
            Fault::TooDark(..) => "too-dark",
            Fault::TooBright(..) => "too-bright",
            Fault::Overexposed(..) => "overexposed",
            Fault::OutOfFocus(..) => "out-of-focus",
            Fault::Frozen => "frozen",
        }
    }

    /// What is wrong, without the numbers, which are others with every picture.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::TooDark(..) => "the picture is too dark",
            Fault::TooBright(..) | Fault::Overexposed(..) => "the picture is too bright",
            Fault::OutOfFocus(..) => "the picture is out of focus",
            Fault::Frozen => "the picture came before, bit for bit",
        }
    }

    /// What a person should do.
    pub fn advice(&self) -> &'static str {
        match self {
            Fault::TooDark(..) => "look at the lamp, the lens cap, and the camera's exposure and gain",
            Fault::TooBright(..) | Fault::Overexposed(..) => {
                "look at the lamp, at light from elsewhere, and the camera's exposure and gain"
            }
            Fault::OutOfFocus(..) => "clean the lens; look at the focus, and whether the camera or the belt moved",
            Fault::Frozen => {
                "the camera sends no new pictures: look at its cable, and switch it off and on (files are replayed by a camera of kind \"folder\")"
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Fault::TooDark(found, least) => {
                write!(f, ": its mean is {found:.1}, that of normal parts at least {least:.1}")
            }
            Fault::TooBright(found, most) => {
                write!(f, ": its mean is {found:.1}, that of normal parts at most {most:.1}")
            }
            Fault::Overexposed(found, most) => {
                let percent = |share: &f32| 100.0 * share;
                write!(f, ": {:.1}% of it is saturated, of normal parts at most {:.1}%", percent(found), percent(most))
            }
            Fault::OutOfFocus(found, least) => {
                write!(f, ": its sharpness is {found:.4}, that of normal parts at least {least:.4}")
            }
            Fault::Frozen => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: Statistics =
        Statistics { brightness: 100.0, saturated: 0.0, sharpness: 0.2, red: 1.0 / 3.0, blue: 1.0 / 3.0 };

    #[test]
    fn a_picture_like_the_normals_is_no_fault_and_others_are_named() {
        let other = Statistics { brightness: 104.0, sharpness: 0.22, ..NORMAL };
        let limits = Limits::fit(&[NORMAL, other]).unwrap();
        assert_eq!(limits.fault(&NORMAL).or(limits.fault(&other)), None);
        let says = |picture: Statistics| limits.fault(&picture).map(|fault| fault.to_string()).unwrap_or_default();
        assert!(says(Statistics { brightness: 74.0, ..NORMAL }).contains("too dark: its mean is 74.0"));
        assert!(says(Statistics { brightness: 139.0, ..NORMAL }).contains("at most 138.7"));
        assert!(says(Statistics { saturated: 0.2, ..NORMAL }).contains("20.0% of it is saturated"));
        assert!(says(Statistics { sharpness: 0.11, ..NORMAL }).contains("out of focus"));
        assert_eq!(says(Statistics { sharpness: 0.13, brightness: 80.0, ..NORMAL }), "");
        assert_eq!(Limits::fit(&[]), None);
    }

    /// Pictures whose brightness and sharpness spread over a factor of `spread`, evenly by ratios.
    fn spread(spread: f32, count: usize) -> Vec<Statistics> {
        let factor = |k: usize| spread.powf(k as f32 / (count - 1) as f32 - 0.5);
        let picture = |k| Statistics { brightness: 100.0 * factor(k), sharpness: 0.2 * factor(k), ..NORMAL };
        (0..count).map(picture).collect()
    }

    #[test]
    fn the_more_normals_differ_the_wider_are_the_limits() {
        let limits = Limits::fit(&spread(4.0, 101)).unwrap();
        // From the median to the 5% quantile the logarithm falls by 0.45 ln 4, and as much from there to the limit.
        let reach = 4f32.powf(0.9);
        let (dark, bright) = limits.brightness;
        assert!((dark - 100.0 / reach).abs() < 0.1 && (bright - 100.0 * reach).abs() < 1.0, "{limits:?}");
        assert!((limits.sharpness - 0.2 / reach).abs() < 1e-3, "{limits:?}");
        // Half light is seen where the product itself varies less than that.
        let alike = spread(1.2, 101);
        assert_eq!(Limits::fit(&alike).unwrap().would_see(0.5, &alike), 1.0);
        assert!(limits.would_see(0.5, &spread(4.0, 101)) < 0.4);
    }

    #[test]
    fn one_picture_that_is_not_like_the_others_does_not_move_the_limits() {
        let mut normals = spread(1.2, 100);
        let before = Limits::fit(&normals).unwrap();
        normals.push(Statistics { brightness: 5.0, sharpness: 0.001, saturated: 0.9, ..NORMAL });
        let after = Limits::fit(&normals).unwrap();
        assert!((after.brightness.0 / before.brightness.0 - 1.0).abs() < 0.02, "{before:?} {after:?}");
        assert!((after.saturated, (after.sharpness / before.sharpness - 1.0).abs() < 0.02) == (0.1, true));
        assert!(matches!(after.fault(normals.last().unwrap()), Some(Fault::TooDark(..))));
    }

    #[test]
    fn few_pictures_and_pictures_without_light_have_limits_that_they_keep() {
        let black = Statistics { brightness: 0.0, sharpness: 0.0, ..NORMAL };
        for normals in [vec![NORMAL], vec![black], spread(9.0, 3)] {
            let limits = Limits::fit(&normals).unwrap();
            assert!(normals.iter().all(|picture| limits.fault(picture).is_none()), "{limits:?}");
        }
    }
}
