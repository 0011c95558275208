use std::path::Path;
use std::time::Duration;

use super::*;
use crate::Result;
use crate::config::LineConfig;
use crate::config::tests::WHOLE;
use crate::line::Length;

const LANES: &str = r#"
[[lane]]
name = "left"
x = 0
y = 0
width = 320
height = 480
[lane.output]
kind = "gpio"
chip = "gpiochip0"
line = "LEFT"

[[lane]]
name = "right"
x = 0.5
y = 0
width = 0.5
height = 1.0
class = "nut"
calibration = ["nut.toml"]
travel_ms = 500
delay_ms = 4
[lane.output]
kind = "gpio"
chip = "gpiochip0"
line = "RIGHT"
[lane.confirm]
kind = "gpio"
chip = "gpiochip0"
line = "CHUTE"
until_ms = 90
"#;

fn parse(text: &str) -> Result<LineConfig> {
    LineConfig::parse(Path::new("line.toml"), text)
}

fn with_lanes() -> String {
    let (head, rest) = WHOLE.split_once("[output]").unwrap();
    let (_, tail) = rest.split_once("[audit]").unwrap();
    format!("{head}[audit]{tail}{LANES}")
}

#[test]
fn lanes_are_read_and_take_from_the_line_what_they_do_not_say() {
    let config = parse(&with_lanes()).unwrap();
    let [left, right] = config.lanes.as_slice() else { panic!("{:?}", config.lanes) };
    assert_eq!((left.name.as_deref(), left.class.as_str()), (Some("left"), "washer"));
    assert_eq!(left.region, Some(Region::Pixels { x: 0, y: 0, width: 320, height: 480 }));
    assert_eq!(right.region, Some(Region::Shares { x: 0.5, y: 0.0, width: 0.5, height: 1.0 }));
    assert_eq!((right.class.as_str(), right.calibrations.len()), ("nut", 1));
    assert_eq!((left.confirm.is_some(), right.confirm.is_some()), (false, true));
    let [left, right] = config.rules.lanes.as_slice() else { panic!() };
    let ms = |ms| Length::at_one_metre_per_second(Duration::from_millis(ms));
    assert_eq!((left.ejector.distance, left.ejector.delay), (ms(400), Duration::ZERO));
    assert_eq!((right.ejector.distance, right.ejector.delay), (ms(500), Duration::from_millis(4)));
    assert_eq!(left.ejector.dwell, right.ejector.dwell);
    let by_message = parse(WHOLE).unwrap().rules.lanes.remove(0);
    assert_eq!([left, right, &by_message].map(|lane| lane.ejector.pulses_merge), [true, true, false]);
    assert_eq!(right.confirm.map(|confirm| confirm.until), Some(Duration::from_millis(90)));
    assert!(config.rules.finds_frames());
}

#[test]
fn a_file_without_lanes_is_one_lane_without_a_name() {
    let config = parse(WHOLE).unwrap();
    let [lane] = config.lanes.as_slice() else { panic!("{:?}", config.lanes) };
    assert_eq!((&lane.name, lane.region, lane.key("output")), (&None, None, "output".into()));
    assert_eq!(config.rules.lanes[0].name, None);
}

#[test]
fn what_a_lane_names_is_blamed_on_its_line() {
    let config = parse(&with_lanes()).unwrap();
    let error = config.blame(&config.lanes[1].key("output"), crate::Error::device("no such line"));
    let place = with_lanes().lines().position(|line| line == "line = \"RIGHT\"").unwrap() - 2;
    let told = format!("line.toml:{place}:1: lane.2.output: no such line");
    assert!(error.report().contains(&told), "{}", error.report());
}

#[test]
fn a_lane_has_its_own_photo_eye_or_that_of_all() {
    // A belt of 1 m/s is no line without a belt.
    let belt = "\n[belt]\nkind = \"speed\"\nspeed_mm_s = 1000\n";
    let eye = "kind = \"gpio\"\nchip = \"c\"\nline = \"EYE\"\nto_camera_mm = 5\npitch_mm = 40\nlongest_mm = 120\n";
    let text = with_lanes().replace("travel_ms", "travel_mm") + belt;
    let own = |text: &str, lane: &str| {
        let output = format!("[lane.output]\nkind = \"gpio\"\nchip = \"gpiochip0\"\nline = \"{lane}\"");
        assert!(text.contains(&output));
        text.replace(&output, &format!("[lane.photo_eye]\n{}{output}", eye.replace("EYE", &format!("EYE{lane}"))))
    };
    let is_own = |config: &LineConfig| {
        let own = |lane: &LaneRules| matches!(lane.find, Find::PhotoEye(eye) if eye.own);
        config.rules.lanes.iter().map(own).collect::<Vec<_>>()
    };
    let common = parse(&format!("{text}[photo_eye]\n{eye}")).unwrap();
    assert_eq!((is_own(&common), common.devices.photo_eye.is_some()), (vec![false, false], true));
    let mixed = parse(&format!("{}[photo_eye]\n{eye}", own(&text, "RIGHT"))).unwrap();
    assert_eq!(is_own(&mixed), [false, true]);
    let each = parse(&own(&own(&text, "RIGHT"), "LEFT")).unwrap();
    assert_eq!((is_own(&each), each.devices.photo_eye.is_some()), (vec![true, true], false));
    assert!(each.lanes.iter().all(|lane| lane.photo_eye.is_some()));
    let error = parse(&own(&text, "RIGHT")).unwrap_err();
    assert!(error.report().contains("the lane 'left' has no photo-eye, and others have one"), "{}", error.report());
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let whole = with_lanes();
    let left_output = "[lane.output]\nkind = \"gpio\"\nchip = \"gpiochip0\"\nline = \"LEFT\"\n";
    for (from, to, told) in [
        ("name = \"right\"", "name = \"left\"", "two lanes are called 'left'"),
        ("line = \"RIGHT\"", "line = \"LEFT\"", "line LEFT of gpiochip0 is what [lane.1.output] has already"),
        ("width = 320", "width = 1", "width is 1 pixels"),
        ("width = 320\n", "", "x, y, width and height belong together"),
        ("width = 0.5", "width = 0.6", "width is 0.6, from 0.5 on: that is not within the picture"),
        ("width = 0.5", "width = 320", "width is 320, and others are shares of the picture"),
        ("width = 320", "width = \"half\"", "width is to be a whole number of pixels, or a share"),
        ("width = 320", "width = 320\nwdith = 3", "unknown key 'wdith'; did you mean 'width'? in [lane]"),
        ("travel_ms = 500", "travel_mm = 500", "travel_mm needs a section [belt]"),
        (left_output, "", "the lane 'left' has no ejector"),
        ("[[lane]]\nname = \"left\"", "[output]\nkind = \"none\"\n[[lane]]\nname = \"left\"", "[output] is of no lane"),
    ] {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from}");
        let error = parse(&text).unwrap_err();
        assert!(error.report().contains(told), "{to}: {}", error.report());
        assert!(error.report().contains("line.toml:"), "{}", error.report());
    }
    let one = WHOLE.replace("[output]", "[lane]\nname = \"left\"\n[output]");
    let error = parse(&one).unwrap_err();
    assert!(error.report().contains("[[lane]]"), "{}", error.report());
}

#[test]
fn a_region_outside_a_camera_s_picture_is_told_before_the_camera_is_opened() {
    let folder = "kind = \"folder\"\npath = \"frames\"\nrate = 10\n";
    let camera = "kind = \"v4l2\"\ndevice = \"/dev/video0\"\nwidth = 300\nheight = 480\n";
    let error = parse(&with_lanes().replace(folder, camera)).unwrap_err();
    let told = "the region 320x480 at 0, 0 is not within the picture, 300x480 pixels";
    assert!(error.report().contains(told), "{}", error.report());
}
