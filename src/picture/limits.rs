//! What a picture may be like, from pictures of normal parts, and what is wrong with one that is not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Statistics;

/// The range of the normals' pictures is widened by so many times its own width at each end: few pictures do not show all
/// that is normal.
const WIDENED: f32 = 1.0;
/// And at least to these shares of its ends: light and focus may change a little from day to day.
const LEAST_DARKER: f32 = 0.75;
const LEAST_BRIGHTER: f32 = 1.25;
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
    /// It is the same picture as the one before, bit for bit.
    Frozen,
}

impl Limits {
    /// Limits that all of these pictures of normal parts keep; none without a picture.
    pub fn fit(normals: &[Statistics]) -> Option<Self> {
        let (dark, bright) = range(normals, |picture| picture.brightness)?;
        let (_, saturated) = range(normals, |picture| picture.saturated)?;
        // Focus acts as a factor, so its range is one of ratios.
        let (blurred, sharp) = range(normals, |picture| picture.sharpness.max(f32::MIN_POSITIVE).ln())?;
        let widened = WIDENED * (bright - dark);
        Some(Limits {
            brightness: (
                (dark - widened).min(LEAST_DARKER * dark).max(0.0),
                (bright + widened).max(LEAST_BRIGHTER * bright),
            ),
            saturated: saturated + LEAST_SATURATED,
            sharpness: (blurred - WIDENED * (sharp - blurred)).min(blurred + LEAST_BLURRED.ln()).exp(),
        })
    }

    /// What is wrong with a picture.
    pub fn fault(&self, picture: &Statistics) -> Option<Fault> {
        let (dark, bright) = self.brightness;
        if picture.brightness < dark {
            return Some(Fault::TooDark(picture.brightness, dark));
        }
        if picture.brightness > bright {
            return Some(Fault::TooBright(picture.brightness, bright));
        }
        if picture.saturated > self.saturated {
            return Some(Fault::Overexposed(picture.saturated, self.saturated));
        }
        (picture.sharpness < self.sharpness).then_some(Fault::OutOfFocus(picture.sharpness, self.sharpness))
    }
}

fn range(pictures: &[Statistics], value: impl Fn(&Statistics) -> f32) -> Option<(f32, f32)> {
    let values = || pictures.iter().map(&value);
    values().min_by(f32::total_cmp).zip(values().max_by(f32::total_cmp))
}

impl Fault {
    /// What is wrong, without the numbers, which are others with every picture.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::TooDark(..) => "the picture is too dark",
            Fault::TooBright(..) | Fault::Overexposed(..) => "the picture is too bright",
            Fault::OutOfFocus(..) => "the picture is out of focus",
            Fault::Frozen => "the picture is the same as the one before, bit for bit",
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
            Fault::Frozen => "the camera sends no new pictures: look at its cable, and switch it off and on",
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
        assert!(says(Statistics { brightness: 131.0, ..NORMAL }).contains("at most 130.0"));
        assert!(says(Statistics { saturated: 0.2, ..NORMAL }).contains("20.0% of it is saturated"));
        assert!(says(Statistics { sharpness: 0.11, ..NORMAL }).contains("out of focus"));
        assert_eq!(says(Statistics { sharpness: 0.13, brightness: 80.0, ..NORMAL }), "");
        assert_eq!(Limits::fit(&[]), None);
    }

    #[test]
    fn the_more_normals_differ_the_wider_are_the_limits() {
        let dark = Statistics { brightness: 50.0, sharpness: 0.1, ..NORMAL };
        let limits = Limits::fit(&[NORMAL, dark]).unwrap();
        assert_eq!(limits.brightness, (0.0, 150.0));
        assert!((limits.sharpness - 0.05).abs() < 1e-6);
    }
}
