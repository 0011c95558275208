//! `hgad camera empty-belt`: what the belt looks like when nothing lies on it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::camera::{Camera, Grab};
use crate::config::LineConfig;
use crate::presence::{EmptyBelt, Gate, Learner};
use crate::progress::Progress;
use crate::runtime::camera_of;
use crate::{Error, Result, print};

/// How long one grab may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many grabs in a row without another picture, and the camera is given up.
const MOST_FAILURES: usize = 40;
/// So many frames are passed over: a camera that was just opened still finds its exposure.
const SETTLING: usize = 10;

const EXAMPLES: &str = r"Examples:
  # Let the belt run with nothing on it, then
  hgad camera empty-belt --config line3.toml

  # A long belt: one turn of it, at 15 frames per second
  hgad camera empty-belt --config line3.toml --frames 400

  # Look at what is seen of parts now
  hgad camera snap --config line3.toml";

/// Learn what the belt looks like when nothing lies on it
///
/// For a line whose parts are found in the picture ([free_run]). Let the belt run, with nothing on it and the light as it will be, for
/// a whole turn of it if you can. Each place of the picture is learned with how much it changes; what differs by more is a part. The
/// file that the configuration names (empty_belt) is replaced. Frames in which something lies on the belt are refused.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct EmptyBeltArgs {
    /// The line's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// From how many frames
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(20..=1000))]
    frames: u64,
}

pub fn run(args: &EmptyBeltArgs) -> Result<()> {
    let config = LineConfig::open(&args.config)?;
    let gates = config.lanes.iter().filter_map(|lane| lane.gate.as_ref()).collect::<Vec<_>>();
    if gates.is_empty() {
        return Err(Error::usage(format!("{} has no section [free_run]", args.config.display())).advise(
            "an empty belt is for lines whose parts are found in the picture: docs/configuration.md#free_run",
        ));
    }
    let mut camera = camera_of(&config)?;
    let looks = gates.iter().map(|gate| gate.looks.clone()).collect::<Vec<_>>();
    let belt = Arc::new(learn(&mut *camera, args.frames as usize)?.finish(&looks)?);
    let files = gates.iter().map(|gate| &gate.empty_belt).collect::<BTreeSet<_>>();
    for file in files {
        belt.write(file)?;
        print::line(told(&belt, file))?;
    }
    for gate in gates {
        let sees = Gate::new(belt.clone(), gate.looks.clone()).map_err(Error::usage)?;
        print::line(format_args!("{}: {}", gate.section, sees.contrast()))?;
    }
    Ok(())
}

fn told(belt: &EmptyBelt, file: &std::path::Path) -> String {
    let (width, height) = belt.picture;
    format!("{}: learned from {} frames of {width}x{height}, {}", file.display(), belt.frames, belt.digest.short())
}

fn learn(camera: &mut dyn Camera, frames: usize) -> Result<Learner> {
    let progress = Progress::start("frames", frames);
    let (mut learner, mut settling, mut failures, mut why) = (None::<Learner>, SETTLING, 0, None);
    loop {
        match camera.grab(PATIENCE) {
            Ok(Grab::Frame(_)) if settling > 0 => settling -= 1,
            Ok(Grab::Frame(frame)) => {
                let learner = learner.get_or_insert_with(|| Learner::new(frame.image.dimensions()));
                match learner.take(&frame.image)? {
                    true => {
                        failures = 0;
                        progress.at(learner.frames());
                    }
                    false => {
                        failures += 1;
                        why = Some("it sends the same picture again and again".to_owned());
                    }
                }
            }
            Ok(Grab::End) => break,
            Ok(Grab::Broken(frame)) => (failures, why) = (failures + 1, Some(frame.why)),
            Ok(Grab::Timeout) => failures += 1,
            Err(error) => {
                (failures, why) = (failures + 1, Some(error.line()));
                std::thread::sleep(PATIENCE);
            }
        }
        if learner.as_ref().is_some_and(|learner| learner.frames() == frames) {
            break;
        }
        if failures == MOST_FAILURES {
            let why = why.unwrap_or_else(|| "no frame came".into());
            return Err(Error::device(format!("camera {} gives no further pictures", camera.name()))
                .because(why)
                .advise("does the camera run, and the belt?"));
        }
    }
    progress.finish();
    learner.ok_or_else(|| Error::device(format!("camera {} gave no pictures", camera.name())).advise("does it run?"))
}
