//! The whole program on the lab's devices: `hgad run` with a camera, a photo-eye, an ejector, lamps, a heartbeat and an audit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hgad::time::Monotonic;
use serde_json::Value;

use crate::belt::{Picture, SHADES};
use crate::hold;
use crate::process::Process;
use crate::vivid;

type Failure = Box<dyn std::error::Error>;

/// The product that the lab's model knows.
const CLASS: &str = "squares";
/// Where `run` lays the model.
const MODEL: &str = "/model";
/// From the eye to the camera.
const TO_CAMERA: Duration = Duration::from_millis(200);
/// The camera's pictures that the line is calibrated on; each shade is among them, though the camera may miss some.
const PICTURES: u32 = 3 * SHADES as u32;
/// So few of them at most, one in ten, show one part that gives way to the next. Where more stand apart the camera or the model is at fault,
/// and the lab has no answer.
const MOST_MIXTURES: usize = (PICTURES as usize).div_ceil(10);
/// What a calibration on good parts is told: that they are so, though the model was trained on so few, of other shades, that these scatter more.
const ON_GOOD: [&str; 11] = [
    "--unlike",
    "--model",
    MODEL,
    "--class",
    CLASS,
    "--images",
    "/tmp/calibration/good",
    "--target-frr",
    "0.05",
    "--out",
    "/tmp/calibration/part.toml",
];
/// How long the interpreted program may take to load, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What differs between the lab's lines.
pub struct Setting<'a> {
    /// `[output]`.
    pub output: &'a str,
    pub pulse_ms: u32,
    /// `[audit]`'s file.
    pub audit: &'a Path,
    /// More lines of `[camera]`.
    pub camera: &'a str,
}

/// An ejector on a GPIO line.
pub const EJECTOR: &str = "kind = \"gpio\"\nchip = \"lab-ejectors\"\nline = \"REJECT\"";

/// A line that is set up.
pub struct Line {
    folder: PathBuf,
    audit: PathBuf,
    /// How long this guest takes for a picture, with all that happens beside it: it is interpreted, and its machine may be busy.
    pub pace: Duration,
}

/// A line at work.
pub struct Run<'a> {
    line: &'a Line,
    pub program: Process,
}

/// From the camera to the ejector.
fn travel(pace: Duration) -> Duration {
    (4 * pace).max(Duration::from_millis(2500))
}

/// The belt moves by 100 mm in a second.
fn configuration(setting: &Setting, pace: Duration) -> String {
    let Setting { output, pulse_ms, audit, camera } = setting;
    let gpio = |line: &str| format!("kind = \"gpio\"\nchip = \"lab-ejectors\"\nline = \"{line}\"\n");
    format!(
        "format_version = 1\n\
         [line]\nname = \"lab\"\nclass = \"{CLASS}\"\nmodel = \"{MODEL}\"\ncalibration = \"/tmp/calibration/part.toml\"\n\
         travel_mm = {}\npulse_ms = {pulse_ms}\ntolerance_ms = 400\n\
         [camera]\nkind = \"v4l2\"\ndevice = \"{}\"\nwidth = 320\nheight = 180\nformat = \"RGB3\"\nfps = 15\n\
         timeout_ms = 1000\n{camera}\
         [camera.controls]\ntimestamp_source = \"Start of Exposure\"\nosd_text_mode = \"None\"\n\
         [belt]\nkind = \"speed\"\nspeed_mm_s = 100\n\
         [photo_eye]\n{}to_camera_mm = {}\npitch_mm = 50\nlongest_mm = 40\n\
         [output]\n{output}\n[stop_line]\n{}[alarm]\n{}[heartbeat]\n{}\
         [audit]\nfile = \"{}\"\n",
        travel(pace).as_millis() / 10,
        vivid::NODE,
        gpio("EYE"),
        TO_CAMERA.as_millis() / 10,
        gpio("STOP_LINE"),
        gpio("ALARM"),
        gpio("HEARTBEAT"),
        audit.display(),
    )
}

/// Runs `hgad` to its end, and gives what it printed.
pub fn hgad(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("hgad").args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    hold!(output.status.success(), "hgad {}: {}: {}", arguments.join(" "), output.status, said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// An audit's records of a kind.
pub fn records(audit: &Path, kind: &str) -> Result<Vec<Value>, Failure> {
    let audit = audit.display().to_string();
    let lines = hgad(&["audit", "query", &audit, "--kind", kind, "--format", "json"])?;
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

impl Line {
    pub fn new(name: &str, setting: &Setting) -> Result<Self, Failure> {
        let folder = Path::new("/tmp").join(name);
        fs::create_dir_all(&folder)?;
        let mut line = Line { folder, audit: setting.audit.to_owned(), pace: Duration::ZERO };
        line.configure(setting)?;
        line.pace = calibrated(&line.config())?;
        line.configure(setting)?;
        Ok(line)
    }

    fn configure(&self, setting: &Setting) -> Result<(), Failure> {
        Ok(fs::write(self.config(), configuration(setting, self.pace))?)
    }

    /// How long a part is on its way from the eye to the ejector.
    pub fn way(&self) -> Duration {
        TO_CAMERA + travel(self.pace)
    }

    fn config(&self) -> String {
        self.folder.join("line.toml").display().to_string()
    }

    /// Starts the program, and waits until the line is armed.
    pub fn start(&self) -> Result<Run<'_>, Failure> {
        let log = self.folder.join("log");
        let mut command = Command::new("hgad");
        command.args(["run", "--config", &self.config()]).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut run = Run { line: self, program: Process::start(&mut command)? };
        let end = Monotonic::now() + PATIENCE;
        while !self.log()?.contains("is armed") {
            let ended = run.program.try_wait()?;
            hold!(ended.is_none() && Monotonic::now() < end, "it is not armed ({ended:?}): {}", self.log()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(run)
    }

    pub fn log(&self) -> Result<String, Failure> {
        Ok(fs::read_to_string(self.folder.join("log"))?)
    }

    /// The audit's records of a kind.
    pub fn records(&self, kind: &str) -> Result<Vec<Value>, Failure> {
        records(&self.audit, kind)
    }

    /// What `hgad audit verify` says of the audit.
    pub fn verify(&self) -> Result<String, Failure> {
        let said = hgad(&["audit", "verify", &self.audit.display().to_string()])?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }
}

impl Run<'_> {
    /// Ends it with SIGTERM, in good order.
    pub fn end(mut self) -> Result<(), Failure> {
        self.program.signal("TERM")?;
        let end = Monotonic::now() + PATIENCE;
        loop {
            if let Some(status) = self.program.try_wait()? {
                hold!(status.success(), "it ended with {status}: {}", self.line.log()?);
                return Ok(());
            }
            hold!(Monotonic::now() < end, "it did not end within {PATIENCE:?}: {}", self.line.log()?);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Takes a picture of a good part in each shade for the model's training. They lie between those that pass later: a model is
/// not calibrated on pictures that it was trained on.
pub fn photograph(folder: &str) -> Result<(), Failure> {
    for part in 0..SHADES {
        Picture::between(part).show()?;
        hgad(&[
            "camera",
            "snap",
            vivid::NODE,
            "--width",
            "320",
            "--height",
            "180",
            "--format",
            "RGB3",
            "--fps",
            "15",
            "--frames",
            "4",
            "--set",
            "timestamp_source=1",
            "--set",
            "osd_text_mode=2",
            "--out",
            &format!("{folder}/{part:02}.png"),
        ])?;
    }
    Ok(())
}

/// Calibrates on the camera's own pictures of good parts, once: they pass in all their shades. Gives how long a picture took.
fn calibrated(config: &str) -> Result<Duration, Failure> {
    static TOOK: OnceLock<Duration> = OnceLock::new();
    if let Some(took) = TOOK.get() {
        return Ok(*took);
    }
    fs::create_dir_all("/tmp/calibration")?;
    let (began, done) = (Instant::now(), AtomicBool::new(false));
    let took = std::thread::scope(|scope| {
        let passing = scope.spawn(|| pass_until(&done));
        let pictures = PICTURES.to_string();
        let said = hgad(&[&["calibrate", "--live", &pictures, "--config", config], &ON_GOOD[..]].concat());
        let took = began.elapsed() / PICTURES;
        done.store(true, Ordering::Relaxed);
        passing.join().map_err(|_| "the parts' pictures panicked")??;
        said.or_else(|refused| without_mixtures(&refused.to_string()))?;
        Ok::<_, Failure>(took)
    })?;
    let took = *TOOK.get_or_init(|| took);
    println!("calibrated on {PICTURES} pictures of the camera, {:.2} s each", took.as_secs_f64());
    Ok(took)
}

/// The same on the pictures that were taken, without those that stand apart, as `refused` says: the camera took them while one part gave way to
/// the next, and no part looks like that. A person who looks at the page would say so.
fn without_mixtures(refused: &str) -> Result<String, Failure> {
    let dropped = mixtures(refused)?.iter().map(|file| format!("{file}=between two parts")).collect::<Vec<_>>();
    println!("left out: {}", dropped.join(", "));
    let drops = dropped.iter().flat_map(|drop| ["--drop", drop]).collect::<Vec<_>>();
    hgad(&[&["calibrate"], &ON_GOOD[..], &drops[..]].concat())
}

/// The pictures that stand apart, as `refused` names them; or what it says, where it names none, or more than can be mixtures.
fn mixtures(refused: &str) -> Result<Vec<&str>, String> {
    let named = refused.split_once("whether that is a good part: ").and_then(|(_, rest)| rest.lines().next());
    let named = named.ok_or(refused)?.split(", ").collect::<Vec<_>>();
    match named.len() <= MOST_MIXTURES {
        true => Ok(named),
        false => Err(format!(
            "{} of {PICTURES} pictures stand apart, and at most {MOST_MIXTURES} can show two parts: {refused}",
            named.len()
        )),
    }
}

/// Shows good parts in turns.
fn pass_until(done: &AtomicBool) -> Result<(), String> {
    for part in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        Picture::good(part).show().map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pictures_that_stand_apart_are_mixtures_and_more_are_not() {
        let refused = |files: &str| {
            format!(
                "error: so many images stand apart, and nobody has said whether that is a good part: {files}\n  try: look"
            )
        };
        assert_eq!(mixtures(&refused("a.png, b.png")).unwrap(), ["a.png", "b.png"]);
        let why = mixtures(&refused("a.png, b.png, c.png, d.png, e.png")).unwrap_err();
        assert!(why.starts_with("5 of 36 pictures stand apart, and at most 4 can"), "{why}");
        assert_eq!(mixtures("no camera").unwrap_err(), "no camera");
    }
}
