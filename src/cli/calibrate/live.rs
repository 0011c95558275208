//! Pictures of good parts, from the line's own camera.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::calibrate::Grouping;
use crate::camera::{Camera, Frame, Grab};
use crate::config::LineConfig;
use crate::presence::Passing;
use crate::progress::Progress;
use crate::runtime::LaneView;
use crate::time::Monotonic;
use crate::{Error, Result, audit, picture, print, time};

/// How long one grab may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many pictures in a row of other products, and there is none of this one on the belt.
const MOST_OTHERS: usize = 100;
/// So many pictures in a row that are the one before, and the camera has no other.
const MOST_REPEATS: usize = 100;
/// So long without a part, where parts are found in the picture, and it is told: perhaps the belt stands, or none is found.
const LONG: Duration = Duration::from_secs(30);
/// A day, an hour, a minute and a second: of two pictures so far apart nothing but month and year may be the same.
const FAR_APART: i64 = 90_061;
/// What a picture's name is.
const NAMED: &str = "pictures that --live takes have the time of their capture (UTC) and a number for a name";
/// Patterns that group such pictures.
const HOW_GROUPED: &str = r"--group '\d{8}-\d{4}' counts those of a minute as one part, '\d{8}-\d{2}' those of an hour";
/// So many grabs in a row without a picture, and the camera is given up.
const MOST_FAILURES: usize = 20;

/// Takes `count` pictures of parts of `class` with the camera of the line's configuration into the new folder `folder`, as PNG files whose
/// names begin with the time of the capture ([`time::in_name`]); of a
/// belt with lanes, what that lane sees; where parts are found in the picture, each part once, as a run would inspect it. What the camera
/// says is another product (the synthetic one does) is left out.
///
/// # Errors
///
/// The folder holds files already or cannot be written, there is no such lane, or none is named of several, or the camera cannot be opened, fails again and again, shows other products or the same
/// picture alone, or has no more pictures.
pub(super) fn take(config: &Path, lane: Option<&str>, class: &str, count: u64, folder: &Path) -> Result<Vec<PathBuf>> {
    let config = LineConfig::open(config)?;
    let mut view = match (lane, config.lanes.as_slice()) {
        (Some(name), _) => LaneView::of(&config, config.lane(name)?)?,
        (None, [only]) => LaneView::of(&config, only)?,
        (None, _) => {
            return Err(Error::usage(format!("{} has several lanes", config.path.display()))
                .advise("say whose parts are taken: --lane NAME"));
        }
    };
    new_folder(folder)?;
    let mut camera = crate::runtime::open_camera(&config.camera).map_err(|error| config.blame("camera", error))?;
    let progress = Progress::start("pictures", count as usize);
    let (mut taken, mut passing) = (Vec::new(), Passing::default());
    let (mut shown, mut absence) = (Shown::default(), Absence::since(Monotonic::now()));
    while (taken.len() as u64) < count {
        let frame = next(&mut *camera)?;
        if !shown.is_of(class, &frame, camera.name())? {
            continue;
        }
        let seen = match (&view.gate, view.region) {
            (None, Some(region)) => region.of(&frame).map_err(Error::usage)?,
            _ => frame,
        };
        if !shown.is_new(&seen, camera.name())? {
            continue;
        }
        let now = seen.captured;
        let picture = match &mut view.gate {
            Some(gate) => passing.take(gate, &seen).map_err(Error::usage)?,
            None => Some(seen),
        };
        let Some(Frame { image, captured, .. }) = picture else {
            if absence.is_news(now) {
                log::warn!(
                    "camera {}: no part has passed for {} s, as far as its pictures show; more are waited for. Does the belt run, with parts on \
                     it? hgad camera snap --config {} shows what is found",
                    camera.name(),
                    LONG.as_secs(),
                    config.path.display()
                );
            }
            continue;
        };
        absence.end(now);
        let path = folder.join(file_name(&audit::wall_time(captured), taken.len() as u64));
        image.save(&path).map_err(|error| {
            Error::device(format!("picture {} cannot be written", path.display()))
                .because(error)
                .advise("is the disk full?")
        })?;
        taken.push(path);
        progress.step();
    }
    progress.finish();
    print::line(format_args!("taken       {} into {}", print::counted(count, "picture"), folder.display()))?;
    Ok(taken)
}

/// A picture's name: the time of its capture, and its number.
fn file_name(time: &str, number: u64) -> String {
    format!("{}-{number:05}.png", time::in_name(time))
}

/// Tries a pattern of groups on the names that pictures will have, and says where it groups none of them.
///
/// # Errors
///
/// It finds nothing in such a name, or the same in those of two pictures that have neither an hour, nor a minute, nor a number in common.
pub(super) fn can_be_grouped(grouping: &Grouping, count: u64) -> Result<()> {
    let now = Timestamp::now();
    let group = |after: i64, number: u64| {
        let time = now.checked_add(SignedDuration::from_secs(after)).unwrap_or(now).to_string();
        grouping.of(Path::new(&file_name(&time, number))).map_err(|error| error.because(NAMED).advise(HOW_GROUPED))
    };
    let first = group(0, 0)?;
    if count > 1 && first == group(FAR_APART, count - 1)? {
        return Err(Error::usage(format!("the group pattern finds the same, '{first}', in the name of every picture"))
            .because(NAMED)
            .advise(HOW_GROUPED));
    }
    if count > 1 && first != group(0, 1)? {
        log::warn!(
            "the group pattern finds something else in the name of every picture, as '{first}' in that of the first: each counts as a part \
             of its own, as without --group; {HOW_GROUPED}"
        );
    }
    Ok(())
}

/// What the camera has shown in a row that is of no use.
#[derive(Default)]
struct Shown {
    others: usize,
    last: Option<u64>,
    repeats: usize,
}

impl Shown {
    /// Whether the frame is of that product, as far as the camera says what it is of.
    ///
    /// # Errors
    ///
    /// So many in a row are not.
    fn is_of(&mut self, class: &str, frame: &Frame, camera: &str) -> Result<bool> {
        let Some(other) = frame.product.as_ref().filter(|product| *product != class) else {
            self.others = 0;
            return Ok(true);
        };
        self.others += 1;
        if self.others == MOST_OTHERS {
            return Err(Error::usage(format!("camera {camera} shows no '{class}'"))
                .because(format!("the last of {} pictures shows '{other}'", self.others))
                .advise("give a product that passes the camera as --class"));
        }
        Ok(false)
    }

    /// Whether it is another picture than the one before: one that comes twice is no second part.
    ///
    /// # Errors
    ///
    /// It is the same again and again.
    fn is_new(&mut self, seen: &Frame, camera: &str) -> Result<bool> {
        let print = picture::fingerprint(&seen.image);
        if self.last.replace(print) != Some(print) {
            self.repeats = 0;
            return Ok(true);
        }
        self.repeats += 1;
        if self.repeats == MOST_REPEATS {
            return Err(Error::device(format!("camera {camera} gives the same picture again and again"))
                .because(format!(
                    "the last {} are the same, bit for bit, and a live camera's noise never comes twice",
                    print::counted(self.repeats as u64, "picture")
                ))
                .advise(
                    "look at its cable, and switch it off and on; a folder, or a program in its place, must show parts that differ",
                ));
        }
        Ok(false)
    }
}

/// How long no part has come, where parts are found in the picture.
struct Absence {
    since: Monotonic,
    is_told: bool,
}

impl Absence {
    fn since(since: Monotonic) -> Self {
        Absence { since, is_told: false }
    }

    /// A part has come.
    fn end(&mut self, now: Monotonic) {
        self.since = now;
    }

    /// Whether it is to be told of now: once, since a belt may be empty again and again.
    fn is_news(&mut self, now: Monotonic) -> bool {
        let is_long = now.saturating_since(self.since) >= LONG;
        is_long && !std::mem::replace(&mut self.is_told, true)
    }
}

/// Makes the folder that pictures are taken into.
///
/// # Errors
///
/// It holds files already, or cannot be made.
pub(super) fn new_folder(folder: &Path) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::device(format!("folder {} cannot be written", folder.display()))
            .because(error)
            .advise("name a folder that you may write, on a disk that is not full")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    match std::fs::read_dir(folder).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(Error::usage(format!("folder {} holds files already", folder.display())).advise(
            "name a new folder: the pictures are taken into it (to calibrate on a folder, leave --live or --from-audit out)",
        )),
    }
}

fn next(camera: &mut dyn Camera) -> Result<Frame> {
    let name = camera.name().to_owned();
    let mut why = None;
    for _ in 0..MOST_FAILURES {
        match camera.grab(PATIENCE) {
            Ok(Grab::Frame(frame)) => return Ok(frame),
            Ok(Grab::Broken(frame)) => why = Some(Error::device(frame.why)),
            Ok(Grab::Timeout) => {}
            Ok(Grab::End) => {
                return Err(
                    Error::device(format!("camera {name} has no more pictures")).advise("ask for fewer (--live)")
                );
            }
            Err(error) => {
                why = Some(error);
                std::thread::sleep(PATIENCE);
            }
        }
    }
    let error = Error::device(format!("camera {name} gives no pictures"));
    Err(match why {
        Some(why) => error.because(why),
        None => error.advise("does the belt run, and the trigger come?"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_no_part_comes_is_told_once_after_a_while_and_ends_nothing() {
        let at = |seconds: u64| Monotonic::from_nanos(seconds * 1_000_000_000);
        let mut absence = Absence::since(at(5));
        assert!(!absence.is_news(at(34)));
        absence.end(at(34));
        assert!(!absence.is_news(at(63)));
        assert!(absence.is_news(at(64)));
        assert!(!absence.is_news(at(1000)));
    }
}
