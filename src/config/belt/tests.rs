use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::config::tests::WHOLE;
use crate::config::{EncoderConfig, LineConfig};
use crate::line::{Confirm, Consequence, Drive, Find, Length, Share};

const BELT: &str = r#"
[belt]
kind = "gpio"
chip = "gpiochip0"
a = "ENC_A"
b = "ENC_B"
mm_per_count = 0.05

[photo_eye]
kind = "gpio"
chip = "gpiochip0"
line = "EYE"
to_camera_mm = 80
pitch_mm = 40
longest_mm = 120

[confirm]
kind = "modbus"
server = "plc"
discrete_input = 3
until_ms = 250
missing = "stop-line"

[bin]
kind = "gpio"
chip = "gpiochip0"
line = "BIN"
full = "stop-line"

[limits]
in_a_row = 8
share = 0.3
last = 50

[stop_line]
kind = "gpio"
chip = "gpiochip0"
line = "STOP"

[heartbeat]
kind = "modbus"
server = "plc"
coil = 7
period_ms = 50
"#;

fn parse(text: &str) -> Result<LineConfig> {
    LineConfig::parse(Path::new("line.toml"), text)
}

fn with_belt() -> String {
    WHOLE.replace("travel_ms = 400", "travel_mm = 300\ndelay_ms = 12\ngap_ms = 5") + BELT
}

#[test]
fn a_signal_over_a_serial_port_says_when_it_is_over() {
    let signal = |section: &str| {
        let port = "kind = \"serial\"\nport = \"/dev/ttyS7\"\nmessage = \"STOP;\"\nbaud = 115200\n";
        format!("{WHOLE}[{section}]\n{port}")
    };
    for section in ["stop_line", "alarm"] {
        let told = parse(&signal(section)).unwrap_err().report();
        let place = WHOLE.lines().count() + 1;
        assert!(told.contains(&format!("line.toml:{place}:1: [{section}] has no release")), "{told}");
        assert!(parse(&format!("{}release = \"GO;\"\n", signal(section))).is_ok());
    }
    assert!(parse(&signal("heartbeat")).is_ok(), "its messages stay out when the line stops");
}

#[test]
fn a_line_with_everything_along_the_belt_is_read() {
    let config = parse(&with_belt()).unwrap();
    let rules = config.rules;
    let lane = &rules.lanes[0];
    assert_eq!((rules.drive, lane.ejector.distance), (Drive::Encoder, Length::from_mm(300.0)));
    assert_eq!((lane.ejector.delay, lane.ejector.gap), (Duration::from_millis(12), Duration::from_millis(5)));
    let Find::PhotoEye(eye) = lane.find else { panic!("no photo-eye") };
    assert_eq!((eye.to_camera, eye.window), (Length::from_mm(80.0), Length::from_mm(20.0)));
    let until = Duration::from_millis(250);
    assert_eq!(lane.confirm, Some(Confirm { from: Duration::ZERO, until, missing: Consequence::StopLine }));
    assert_eq!(rules.limits.share, Some(Share { of: 0.3, last: 50 }));
    assert_eq!(rules.bin_full, Consequence::StopLine);
    let devices = config.devices;
    let encoder = devices.encoder.expect("an encoder");
    assert!(matches!(encoder.config, EncoderConfig::Gpio(_)));
    assert_eq!(encoder.per_count, Length::from_mm(0.05));
    assert!(devices.photo_eye.is_some() && config.lanes[0].confirm.is_some() && devices.bin.is_some());
    assert!(devices.stop_line.is_some() && devices.alarm.is_none());
    assert_eq!(devices.heartbeat.map(|heartbeat| heartbeat.period), Some(Duration::from_millis(50)));
}

#[test]
fn what_does_not_fit_together_is_told_with_its_place() {
    let whole = with_belt();
    for (from, to, told) in [
        ("travel_mm = 300", "travel_ms = 300", "travel_mm"),
        ("mm_per_count = 0.05", "", "mm_per_count"),
        ("mm_per_count = 0.05", "mm_per_count = -1", "mm_per_count"),
        ("until_ms = 250", "from_ms = 250\nuntil_ms = 250", "until_ms is not later"),
        ("last = 50", "", "belong together"),
        ("share = 0.3", "share = 1.5", "share"),
        ("line = \"EYE\"", "line = \"EYE\"\nwindow = 4", "unknown key 'window'"),
        ("[limits]", "[limit]", "did you mean 'limits'"),
    ] {
        let error = parse(&whole.replace(from, to)).expect_err(to).report();
        assert!(error.contains(told) && error.contains("line.toml:"), "{to}: {error}");
    }
    let (head, tail) = whole.split_once("[belt]").unwrap();
    let eye_alone = head.replace("travel_mm", "travel_ms").to_owned() + &tail[tail.find("[photo_eye]").unwrap()..];
    let error = parse(&eye_alone).expect_err("no belt").report();
    assert!(error.contains("belt's speed"), "{error}");
    let error = parse(&whole.replace("[belt]\nkind = \"gpio\"", "[belt]\nkind = \"speed\"")).unwrap_err().report();
    assert!(error.contains("speed_mm_s") || error.contains("unknown key"), "{error}");
}
