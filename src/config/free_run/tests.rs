use std::path::Path;

use super::*;
use crate::Result;
use crate::config::LineConfig;
use crate::config::tests::WHOLE;
use crate::line::Find;

const SECTIONS: &str = r#"
[belt]
kind = "speed"
speed_mm_s = 200

[free_run]
empty_belt = "empty-belt.toml"
direction = "left"
mm_per_pixel = 0.25
x = 0.1
y = 0
width = 0.8
height = 1.0
crop_mm = 100
longest_mm = 80
"#;

const LANES: &str = r#"
[[lane]]
name = "near"
x = 0
y = 0
width = 640
height = 240
[lane.output]
kind = "none"
[lane.free_run]
empty_belt = "near.toml"
direction = "right"
mm_per_pixel = 0.5
crop_mm = 50
longest_mm = 40
shortest_mm = 5
window_mm = 8
combine = "mean"
frames = 2
most_frames = 4

[[lane]]
name = "far"
x = 0
y = 240
width = 640
height = 240
[lane.output]
kind = "none"
"#;

fn parse(text: &str) -> Result<LineConfig> {
    LineConfig::parse(Path::new("etc/line.toml"), text)
}

fn line() -> String {
    format!("{}{SECTIONS}", WHOLE.replace("travel_ms", "travel_mm"))
}

fn with_lanes() -> String {
    let text = line();
    let (head, rest) = text.split_once("[output]").unwrap();
    let (_, tail) = rest.split_once("[audit]").unwrap();
    let region = "x = 0.1\ny = 0\nwidth = 0.8\nheight = 1.0\n";
    format!("{}{LANES}", format!("{head}[audit]{tail}").replace(region, ""))
}

fn found(config: &LineConfig, lane: usize) -> (FreeRun, &GateConfig) {
    let Find::FreeRun(rules) = config.rules.lanes[lane].find else { panic!("{:?}", config.rules.lanes[lane]) };
    (rules, config.lanes[lane].gate.as_ref().unwrap())
}

#[test]
fn a_gate_is_read_with_what_it_does_not_say() {
    let config = parse(&line()).unwrap();
    let (rules, gate) = found(&config, 0);
    let mm = Length::from_mm;
    assert_eq!((rules.longest, rules.shortest, rules.window), (mm(80.0), mm(8.0), mm(20.0)));
    assert_eq!((rules.combine, rules.frames, rules.most_frames), (Combine::Max, 1, 3));
    assert_eq!(gate.empty_belt, Path::new("etc/empty-belt.toml"), "paths start from the file");
    assert_eq!(gate.looks.region, Some(Region::Shares { x: 0.1, y: 0.0, width: 0.8, height: 1.0 }));
    assert_eq!((gate.looks.direction, gate.looks.mm_per_pixel, gate.looks.crop_mm), (Direction::Left, 0.25, 100.0));
    assert!(!config.rules.finds_frames());
}

#[test]
fn a_lane_has_its_own_or_that_of_all() {
    let config = parse(&with_lanes()).unwrap();
    let (near, near_gate) = found(&config, 0);
    assert_eq!((near.combine, near.frames, near.most_frames), (Combine::Mean, 2, 4));
    assert_eq!((near.shortest, near.window), (Length::from_mm(5.0), Length::from_mm(8.0)));
    assert_eq!((near_gate.section.as_str(), near_gate.looks.region), ("lane.1.free_run", config.lanes[0].region));
    let (_, far_gate) = found(&config, 1);
    assert_eq!(far_gate.empty_belt, Path::new("etc/empty-belt.toml"));
    assert_eq!((far_gate.section.as_str(), far_gate.looks.region), ("free_run", config.lanes[1].region));
}

#[test]
fn what_cannot_be_is_told() {
    let eye =
        "[photo_eye]\nkind = \"gpio\"\nchip = \"c\"\nline = \"E\"\nto_camera_mm = 5\npitch_mm = 40\nlongest_mm = 9\n";
    let line = line();
    for (from, to, told) in [
        ("longest_mm = 80", "longest_mm = 120", "crop_mm (100.0 mm) is less than longest_mm (120.0 mm)"),
        ("longest_mm = 80", "longest_mm = 80\nshortest_mm = 80", "shortest_mm is not less than longest_mm"),
        ("longest_mm = 80", "longest_mm = 80\nframes = 5\nmost_frames = 4", "a part needs 5 to pass"),
        ("longest_mm = 80", "longest_mm = 80\nframes = 0", "frames must be greater than 0"),
        ("direction = \"left\"", "direction = \"lefft\"", "direction cannot be 'lefft'; did you mean 'left'?"),
        ("direction = \"left\"\n", "", "the key 'direction' is missing in [free_run]"),
        ("mm_per_pixel = 0.25", "mm_per_pixel = 0", "mm_per_pixel must be greater than 0"),
        ("x = 0.1\n", "", "x, y, width and height belong together"),
        ("[free_run]", &format!("{eye}\n[free_run]"), "by a photo-eye or in the picture, and not by both"),
    ] {
        assert!(line.contains(from));
        let report = parse(&line.replace(from, to)).unwrap_err().report();
        assert!(report.contains(told), "{report}");
    }
    let no_belt = line.replace("[belt]\nkind = \"speed\"\nspeed_mm_s = 200\n", "").replace("travel_mm", "travel_ms");
    assert!(parse(&no_belt).unwrap_err().report().contains("without knowing how the belt moves"));
    let region = with_lanes().replace("crop_mm = 50", "crop_mm = 50\nx = 1\ny = 1\nwidth = 50\nheight = 50");
    assert!(parse(&region).unwrap_err().report().contains("a lane's gate is its region of the picture"));
    let own_eye = with_lanes().replace("[lane.free_run]", &format!("{}[lane.free_run]", eye.replace("[", "[lane.")));
    assert!(parse(&own_eye).unwrap_err().report().contains("not by both"));
}

#[test]
fn a_camera_that_may_be_silent_for_ever_finds_no_parts() {
    let text = line();
    let (head, rest) = text.split_once("[camera]").unwrap();
    let (_, tail) = rest.split_once("[output]").unwrap();
    let camera = "kind = \"v4l2\"\ndevice = \"/dev/video0\"\nwidth = 640\nheight = 480\n";
    parse(&format!("{head}[camera]\n{camera}[output]{tail}")).unwrap();
    let refused = parse(&format!("{head}[camera]\n{camera}timeout_ms = 0\n[output]{tail}")).unwrap_err().report();
    assert!(refused.contains("silent for ever") && refused.contains("try: "), "{refused}");
}
