//! Time on the line: one axis, CLOCK_MONOTONIC, on which the kernel stamps frames and edges and on which rejects fire.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Which moment a frame's time of capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StampSource {
    /// The kernel's stamp, taken when the exposure began (`V4L2_BUF_FLAG_TSTAMP_SRC_SOE`).
    StartOfExposure,
    /// The kernel's stamp, taken when the last pixel had arrived (`V4L2_BUF_FLAG_TSTAMP_SRC_EOF`).
    EndOfFrame,
    /// When this program had the frame: the kernel does not stamp it.
    Received,
    /// When this program had the frame: the kernel's stamp cannot be right, so nobody knows when it was captured.
    Doubtful,
    /// The frame never arrived; its capture is held to lie between those of its neighbours.
    Interpolated,
}

impl fmt::Display for StampSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StampSource::StartOfExposure => "start of exposure",
            StampSource::EndOfFrame => "end of frame",
            StampSource::Received => "received",
            StampSource::Doubtful => "doubtful",
            StampSource::Interpolated => "interpolated",
        })
    }
}

/// Now by the clock on the wall, as files say when they were made: RFC 3339, UTC, whole seconds.
pub fn stamp() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

/// A moment in a picture's name, such as `20261124-162231`: UTC, whole seconds; `time` is RFC 3339. What is none is the same for all, so
/// that pictures of nobody knows when count as of one time.
pub fn in_name(time: &str) -> String {
    let time = time.parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%d-%H%M%S").to_string()
}

/// The minute in the name of a picture that begins with [`in_name`] and a hyphen, such as `20261124-1622`; `None` where a name begins otherwise.
pub fn minute_in_name(name: &str) -> Option<&str> {
    let shape =
        |(place, byte): (usize, u8)| if [8, 15].contains(&place) { byte == b'-' } else { byte.is_ascii_digit() };
    let moment = name.as_bytes().get(..16)?;
    moment.iter().copied().enumerate().all(shape).then(|| &name[..13])
}

/// A moment on CLOCK_MONOTONIC, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The moment that lies `nanoseconds` after the clock's start.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Monotonic(nanoseconds)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Now, as the kernel's CLOCK_MONOTONIC tells it.
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, writable timespec; CLOCK_MONOTONIC exists on every Linux, so the call cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// Sleeps until this moment; returns at once when it has passed.
    pub fn sleep_until(self) {
        let time = libc::timespec {
            tv_sec: (self.0 / 1_000_000_000) as libc::time_t,
            tv_nsec: (self.0 % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: `time` is a valid timespec; with TIMER_ABSTIME no remaining time is written.
        let sleep = || unsafe {
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, std::ptr::null_mut())
        };
        while sleep() == libc::EINTR {}
    }

    /// `self - earlier` in milliseconds, negative when `self` comes first.
    pub fn millis_since(self, earlier: Monotonic) -> f64 {
        (self.0 as i128 - earlier.0 as i128) as f64 / 1e6
    }

    /// The time from `earlier` to `self`, zero when `earlier` comes later.
    pub fn saturating_since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;
    fn add(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Monotonic;
    fn sub(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_signed() {
        let (a, b) = (Monotonic::from_nanos(5_000_000), Monotonic::from_nanos(7_500_000));
        assert_eq!(b.millis_since(a), 2.5);
        assert_eq!(a.millis_since(b), -2.5);
        assert_eq!(a.saturating_since(b), Duration::ZERO);
    }

    #[test]
    fn a_file_s_time_is_one_that_programs_read_without_parts_of_a_second() {
        let stamp = stamp();
        assert!(stamp.len() == "2026-01-02T03:04:05Z".len() && stamp.parse::<jiff::Timestamp>().is_ok(), "{stamp}");
    }

    #[test]
    fn the_clock_runs_forward() {
        let first = Monotonic::now();
        assert!(Monotonic::now() >= first);
    }
}
