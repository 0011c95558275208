//! `hgad camera`: finds the line's camera, shows what it offers, takes a picture, learns the empty belt.

mod empty_belt;
mod snap;

use std::path::{Path, PathBuf};

use crate::camera::v4l2::{self, CameraNode, Control, ControlKind, NodeState, OfferedFormat};
use crate::{Error, Result, print};

/// Find the camera, see what it offers, take a picture, learn the empty belt
#[derive(Debug, clap::Args)]
pub struct CameraArgs {
    #[command(subcommand)]
    command: CameraCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CameraCommand {
    /// List the cameras of this machine, and the names that stay theirs
    #[command(after_long_help = "Examples:\n  hgad camera list")]
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// List the pixel formats, sizes and frame rates that a camera offers
    #[command(after_long_help = "Examples:\n  hgad camera formats /dev/video0")]
    Formats {
        /// The device, such as /dev/video0
        device: PathBuf,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// List a camera's controls: their names for [camera.controls], values, ranges
    #[command(after_long_help = CONTROLS_EXAMPLES)]
    Controls {
        /// The device, such as /dev/video0
        device: PathBuf,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    Snap(snap::SnapArgs),
    EmptyBelt(empty_belt::EmptyBeltArgs),
}

const CONTROLS_EXAMPLES: &str = r"Examples:
  # What can be set, and to what
  hgad camera controls /dev/video0

  # Try values before they go into the line's [camera.controls]
  hgad camera snap /dev/video0 --set exposure_us=2000 --set gain=20";

pub fn run(args: CameraArgs) -> Result<()> {
    match args.command {
        CameraCommand::List { json } => list(json),
        CameraCommand::Formats { device, json } => formats(&device, json),
        CameraCommand::Controls { device, json } => controls(&device, json),
        CameraCommand::Snap(args) => snap::run(&args),
        CameraCommand::EmptyBelt(args) => empty_belt::run(&args),
    }
}

fn list(json: bool) -> Result<()> {
    let cameras = v4l2::cameras();
    if json {
        return print::line(serde_json::Value::from_iter(cameras.iter().map(node_json)));
    }
    if cameras.is_empty() {
        return Err(
            Error::device("there is no camera").advise("check the cable and its power; lsusb and dmesg may say more")
        );
    }
    let mut rows = vec![["DEVICE", "CAMERA", "DRIVER", "PORT"].map(String::from)];
    for camera in cameras {
        let (driver, port) = match camera.state {
            NodeState::Ready { driver, bus } => (driver, bus),
            NodeState::NotPermitted => ("-".into(), "permission denied: add this user to the group \"video\"".into()),
            NodeState::Failed(why) => ("-".into(), why),
        };
        rows.push([camera.path.display().to_string(), camera.name, driver, port]);
        let links = camera.links.iter().map(|link| [String::new(), link.display().to_string()]);
        rows.extend(links.map(|[device, link]| [device, link, String::new(), String::new()]));
    }
    table(&rows)
}

fn node_json(camera: &CameraNode) -> serde_json::Value {
    let mut object = serde_json::json!({ "device": camera.path, "name": camera.name, "links": camera.links });
    match &camera.state {
        NodeState::Ready { driver, bus } => {
            object["driver"] = driver.as_str().into();
            object["port"] = bus.as_str().into();
        }
        NodeState::NotPermitted => object["failure"] = "permission denied".into(),
        NodeState::Failed(why) => object["failure"] = why.as_str().into(),
    }
    object
}

fn formats(device: &Path, json: bool) -> Result<()> {
    let formats = v4l2::formats(device)?;
    if json {
        return print::line(serde_json::Value::from_iter(formats.iter().map(format_json)));
    }
    let (supported, others): (Vec<_>, Vec<_>) = formats.into_iter().partition(|format| format.supported.is_some());
    let mut rows = vec![["FORMAT", "SIZE", "FRAMES PER SECOND", "DESCRIPTION"].map(String::from)];
    for format in supported {
        let (mut code, mut description) = (format.code, format.description);
        if format.sizes.is_empty() {
            rows.push([code, "the driver does not say".into(), String::new(), description]);
            continue;
        }
        for size in &format.sizes {
            rows.push([
                std::mem::take(&mut code),
                size.size.clone(),
                size.told_rates(),
                std::mem::take(&mut description),
            ]);
        }
    }
    table(&rows)?;
    if !others.is_empty() {
        let codes: Vec<String> = others.into_iter().map(|format| format.code).collect();
        print::line(format_args!("not supported: {}", codes.join(" ")))?;
    }
    Ok(())
}

fn format_json(format: &OfferedFormat) -> serde_json::Value {
    let sizes = format.sizes.iter().map(|size| serde_json::json!({ "size": size.size, "rates": size.rates }));
    serde_json::json!({
        "format": format.code,
        "description": format.description,
        "supported": format.supported.is_some(),
        "sizes": sizes.collect::<Vec<_>>(),
    })
}

fn controls(device: &Path, json: bool) -> Result<()> {
    let controls = v4l2::controls(device)?;
    if json {
        let objects = controls.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        let objects = objects.map_err(|error| Error::device("the controls cannot be printed").because(error))?;
        return print::line(serde_json::Value::from(objects));
    }
    let (known, others): (Vec<_>, Vec<_>) =
        controls.iter().partition(|control| !matches!(control.kind, ControlKind::Button | ControlKind::Other));
    if known.is_empty() {
        return print::line(format_args!("{} has no control that can be set", device.display()));
    }
    let mut rows = vec![["CONTROL", "VALUE", "TAKES"].map(String::from)];
    rows.extend(known.into_iter().map(|control| {
        // In one column: a menu of many names would push the remarks of all others off the screen.
        let takes = [control.range(), remark(control)].into_iter().filter(|text| !text.is_empty());
        [control.name.clone(), control.shown(), takes.collect::<Vec<_>>().join("; ")]
    }));
    table(&rows)?;
    if !others.is_empty() {
        let names: Vec<&str> = others.into_iter().map(|control| control.name.as_str()).collect();
        print::line(format_args!("cannot be set here: {}", names.join(" ")))?;
    }
    Ok(())
}

/// What else is to be known of a control.
fn remark(control: &Control) -> String {
    let friendly = control.friendly.filter(|friendly| *friendly != control.name);
    let remarks = [
        friendly.map(|friendly| match control.unit() {
            1 => format!("also {friendly}"),
            unit => format!("also {friendly}, each {unit} of it"),
        }),
        control.read_only.then(|| "read only".into()),
        control.inactive.then(|| "ruled by another control now".into()),
        control.busy.then(|| "in use now".into()),
    ];
    remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Prints rows whose columns are as wide as their widest cell, the last one but as long as it is.
fn table<const N: usize>(rows: &[[String; N]]) -> Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        print::line(cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}
