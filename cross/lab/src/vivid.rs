//! The simulated camera: its controls, its faults, its plug.

use std::process::Command;

use v4l::Device;
use v4l::control::{Control as Setting, Value};

/// The first camera's node.
pub const NODE: &str = "/dev/video0";
/// The second camera's node: its frames may lie in several buffers.
pub const MULTI_PLANAR: &str = "/dev/video1";

/// Controls of vivid, by their numbers in its `vivid-ctrls.c`: the `v4l` crate panics on listing them by name.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Control {
    /// 0 to 255.
    Brightness = 0x0098_0900,
    /// 0 to 255; 128 is the pattern as it is.
    Contrast = 0x0098_0901,
    /// 1: 100% colour bars, 4: squares in full colours, 10: checkers.
    TestPattern = 0x00f0_f000,
    /// 2: no text in the picture.
    OsdTextMode = 0x00f0_f001,
    /// A border of two colours.
    ShowBorder = 0x00f0_f004,
    /// A square in the middle.
    ShowSquare = 0x00f0_f005,
    /// 0: end of frame, 1: start of exposure.
    TimestampSource = 0x00f0_f018,
    /// Per cent.
    DroppedBuffers = 0x00f0_f040,
    /// Unplugs the camera.
    Disconnect = 0x00f0_f041,
    /// The next buffer is flagged as damaged.
    BufferFlagError = 0x00f0_f042,
    /// The next QBUF fails.
    QueueError = 0x00f0_f044,
    /// The next STREAMON fails.
    StreamOnError = 0x00f0_f045,
    /// The queue fails until the stream is stopped.
    FatalStreamingError = 0x00f0_f046,
}

/// Sets a control of the first camera, or presses it when it is a button.
pub fn set(control: Control, value: i64) -> Result<(), Box<dyn std::error::Error>> {
    set_on(NODE, control, value)
}

/// Sets a control of a camera, or presses it when it is a button. The device is open only for that long.
pub fn set_on(node: &str, control: Control, value: i64) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::with_path(node)?;
    device
        .set_control(Setting { id: control as u32, value: Value::Integer(value) })
        .map_err(|error| format!("vivid's control {control:?} cannot be set: {error}").into())
}

/// Takes the driver out, as if every camera were unplugged.
pub fn unload() -> Result<(), Box<dyn std::error::Error>> {
    run("rmmod vivid")
}

/// Puts the driver in again, as a camera that is plugged in anew.
pub fn load() -> Result<(), Box<dyn std::error::Error>> {
    run("insmod /lib/modules/vivid.ko $(sed -n 's/^vivid.ko //p' /modules)")
}

fn run(command: &str) -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new("sh").args(["-c", command]).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command}: {status}").into()) }
}
