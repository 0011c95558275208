//! Pictures of good parts, from the line's own camera.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::camera::{Camera, Frame, Grab};
use crate::config::LineConfig;
use crate::presence::Passing;
use crate::progress::Progress;
use crate::runtime::LaneView;
use crate::{Error, Result, audit, picture, print, time};

/// How long one grab may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many pictures in a row of other products, and there is none of this one on the belt.
const MOST_OTHERS: usize = 100;
/// So many grabs in a row without a picture, and the camera is given up.
const MOST_FAILURES: usize = 20;

/// Takes `count` pictures of parts of `class` with the camera of the line's configuration into the new folder `folder`, as PNG files whose
/// names begin with the time of the capture ([`time::in_name`]); of a
/// belt with lanes, what that lane sees; where parts are found in the picture, each part once, as a run would inspect it. What the camera
/// says is another product (the synthetic one does) is left out.
///
/// # Errors
///
/// The folder holds files already or cannot be written, there is no such lane, or none is named of several, or the camera cannot be opened, fails again and again, shows other products alone, or
/// has no more pictures.
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
    let (mut taken, mut last, mut passing, mut others) = (Vec::new(), None, Passing::default(), 0);
    while (taken.len() as u64) < count {
        let frame = next(&mut *camera)?;
        if let Some(other) = frame.product.as_ref().filter(|product| *product != class) {
            others += 1;
            if others == MOST_OTHERS {
                return Err(Error::usage(format!("camera {} shows no '{class}'", camera.name()))
                    .because(format!("the last of {others} pictures shows '{other}'"))
                    .advise("give a product that passes the camera as --class"));
            }
            continue;
        }
        others = 0;
        let picture = match (&mut view.gate, view.region) {
            (Some(gate), _) => passing.take(gate, &frame),
            (None, Some(region)) => region.of(&frame).map(Some),
            (None, None) => Ok(Some(frame)),
        };
        let Some(Frame { image, captured, .. }) = picture.map_err(Error::usage)? else { continue };
        // A picture that comes twice is no second part.
        let print = picture::fingerprint(&image);
        if last.replace(print) == Some(print) {
            continue;
        }
        let path = folder.join(format!("{}-{:05}.png", time::in_name(&audit::wall_time(captured)), taken.len()));
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
