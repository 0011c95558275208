//! Real processes.

use std::fs;
use std::path::Path;

use super::*;
use crate::ErrorKind;

const PATIENCE: Duration = Duration::from_millis(100);

/// A program of a shell, whose pictures are 4x2 and grey.
fn settings(script: &str) -> Settings {
    Settings {
        command: ["sh", "-c", script].map(String::from).to_vec(),
        format: Format::Pixels(PixelFormat::Grey),
        width: 4,
        height: 2,
        stride: None,
        silence: Duration::from_secs(20),
    }
}

/// Shell words that write a picture whose pixels all have the value `level`, 0 to 7.
fn picture(level: u8) -> String {
    format!("printf '{}'; ", format!("\\00{level}").repeat(8))
}

/// Grabs until a frame comes.
fn frame(camera: &mut PipeCamera) -> Frame {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Ok(Grab::Frame(frame)) = camera.grab(PATIENCE) {
            return frame;
        }
    }
    panic!("no frame within a minute");
}

/// Grabs until an error comes.
fn error(camera: &mut PipeCamera) -> Error {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Err(error) = camera.grab(PATIENCE) {
            return error;
        }
    }
    panic!("no error within a minute");
}

/// Whether the process whose number stands in `file` is gone; one that nobody has waited for is.
fn is_gone(file: &Path) -> bool {
    let number = fs::read_to_string(file).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
    status.is_empty() || status.contains(") Z ")
}

fn assert_goes(file: &Path) {
    let start = Instant::now();
    while !is_gone(file) {
        assert!(start.elapsed() < Duration::from_secs(60), "{} names a process that goes on", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn frames_are_numbered_and_the_newest_is_taken() {
    let script =
        [picture(1), picture(2), "sleep 0.2; ".into(), picture(3), picture(4), "exec sleep 600".into()].concat();
    let mut camera = PipeCamera::open(settings(&script)).unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(level, _)| *level != 4) {
        let Frame { number, image, stamp, .. } = frame(&mut camera);
        assert_eq!((image.dimensions(), stamp), ((4, 2), StampSource::Received));
        seen.push((image.get_pixel(3, 1).0[0], number));
    }
    assert!(seen.windows(2).all(|pair| u64::from(pair[1].0 - pair[0].0) == pair[1].1 - pair[0].1), "{seen:?}");
    assert!(matches!(camera.grab(PATIENCE), Ok(Grab::Timeout)), "the program sleeps");
}

#[test]
fn a_program_that_fails_tells_its_last_words() {
    let error =
        PipeCamera::open(settings("echo first >&2; echo 'no cameras available' >&2; exit 3")).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    let said = "camera sh stopped: it ended (exit status: 3); its last words: first | no cameras available";
    assert_eq!(error.to_string(), said);
    assert!(error.report().contains("by hand: sh -c 'echo first"), "{}", error.report());

    let mut absent = settings("");
    absent.command = vec!["no-such-program".into()];
    let error = PipeCamera::open(absent).map(|_| ()).unwrap_err();
    assert!(
        error.report().contains("no-such-program cannot be started\n  because: No such file"),
        "{}",
        error.report()
    );

    let error = PipeCamera::open(settings("printf 1234567")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("7 bytes after the last one; a 4x2 GREY takes 8"), "{error}");

    let mut wrong = settings("printf 'P5 4 3 255\\n'; exec sleep 600");
    wrong.format = Format::Pnm;
    let error = PipeCamera::open(wrong).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("its pictures are 4x3, the configuration says 4x2"), "{error}");
}

#[test]
fn a_program_that_dies_is_started_again_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!("echo start >> {}; {} sleep 0.1; kill -9 $$", starts.display(), picture(5));
    let mut camera = PipeCamera::open(settings(&script)).unwrap();
    let first = frame(&mut camera).number;
    let died = error(&mut camera);
    assert!(died.to_string().contains("signal: 9"), "{died}");
    let (second, third) = (frame(&mut camera).number, frame(&mut camera).number);
    assert_eq!([second, third], [first + 1, first + 2]);
    assert!(camera.pause > FIRST_PAUSE, "the next pause is {:?}", camera.pause);
    assert!(fs::read_to_string(&starts).unwrap().lines().count() >= 3);
}

#[test]
fn a_silent_program_is_ended_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {}; {} exec sleep 600", pid.display(), picture(5));
    let mut camera = PipeCamera::open(Settings { silence: Duration::from_secs(1), ..settings(&script) }).unwrap();
    let first = fs::read_to_string(&pid).unwrap();
    frame(&mut camera);
    let silent = error(&mut camera);
    assert!(silent.to_string().contains("camera sh sent nothing for 1.0 s"), "{silent}");
    assert!(is_gone(&pid), "it was ended");
    frame(&mut camera);
    assert_ne!(fs::read_to_string(&pid).unwrap(), first, "another one runs");

    let mute = PipeCamera::open(Settings { silence: Duration::from_millis(300), ..settings("exec sleep 600") });
    let error = mute.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("sent no GREY within 0.3 s, and was ended: it ended (signal: 15"), "{error}");
}

#[test]
fn nothing_that_the_program_started_outlives_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // A process of its own behind it, and one that does not want to end.
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! > {}; echo $$ > {}; {} while :; do sleep 1; done",
        path("helper").display(),
        path("program").display(),
        picture(5)
    );
    let mut camera = PipeCamera::open(settings(&script)).unwrap();
    frame(&mut camera);
    assert!(!is_gone(&path("helper")) && !is_gone(&path("program")));
    drop(camera);
    assert_goes(&path("helper"));
    assert_goes(&path("program"));
}

#[test]
fn pictures_of_gstreamer_are_read() {
    let has = |element: &str| {
        let asked = std::process::Command::new("gst-inspect-1.0").args(["--exists", element]).status();
        asked.is_ok_and(|status| status.success())
    };
    if !["videotestsrc", "jpegenc", "y4menc", "fdsink"].into_iter().all(has) {
        println!("skipped: GStreamer with videotestsrc, jpegenc, y4menc and fdsink is not installed");
        return;
    }
    let formats = [
        // Of I420 jpegenc would keep the limited range, which JPEG does not have.
        ("MJPG", "format=RGB", "! jpegenc quality=95"),
        ("YU12", "format=I420", ""),
        ("NV12", "format=NV12", ""),
        ("RGB3", "format=RGB", ""),
        ("GREY", "format=GRAY8", ""),
        ("Y4M", "format=I420", "! y4menc"),
    ];
    for (format, caps, encoder) in formats {
        let line = format!(
            "gst-launch-1.0 -q videotestsrc is-live=true pattern=red ! video/x-raw,{caps},width=64,height=48,framerate=20/1 \
             {encoder} ! fdsink"
        );
        let settings = Settings {
            command: line.split_whitespace().map(String::from).collect(),
            format: format.parse().unwrap(),
            width: 64,
            height: 48,
            ..settings("")
        };
        let mut camera = PipeCamera::open(settings).unwrap();
        for _ in 0..3 {
            let pixel = frame(&mut camera).image.get_pixel(32, 24).0;
            let is_red = if format == "GREY" { pixel[0].abs_diff(81) < 8 } else { pixel[0] > 245 && pixel[1] < 12 };
            assert!(is_red, "{format}: {pixel:?}");
        }
    }
}

#[test]
fn formats_are_named_as_those_of_cameras() {
    for name in ["MJPG", "YU12", "NV12", "RGB3", "GREY", "BA81", "Y4M", "PNM"] {
        assert_eq!(name.to_lowercase().parse::<Format>().unwrap().to_string(), name);
    }
    let error = "NM12".parse::<Format>().unwrap_err();
    assert!(error.to_string().contains("NV12") && error.to_string().contains("Y4M"), "{error}");
}
