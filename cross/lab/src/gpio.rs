//! Checks of the GPIO output on gpio-sim, whose lines' levels stand in sysfs.

use std::fs;

use hgad::outputs::gpio::{Drive, GpioOutput, Settings};
use hgad::outputs::{Occasion, Output, Role};

use crate::sim::{Line, SIM, read};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[
    ("gpio by path, name and label", addressed),
    ("gpio active low", active_low),
    ("gpio refusals", refusals),
    ("gpio chip lost and back", chip_lost),
];

type Failure = Box<dyn std::error::Error>;

fn settings(chip: &str, line: &str, active_low: bool) -> Settings {
    let (chip, line) = (chip.into(), line.into());
    Settings { chip, line, active_low, bias: None, drive: Drive::PushPull }
}

/// The levels of line `offset` released, active, released twice.
fn cycle(settings: Settings, offset: u32) -> Result<String, Failure> {
    let mut output = GpioOutput::open("ejector", settings, Role::Reject)?;
    let mut levels = Line(offset).level()?;
    output.activate(&Occasion::default())?;
    levels += &Line(offset).level()?;
    output.release()?;
    output.release()?;
    Ok(levels + &Line(offset).level()?)
}

fn addressed() -> Outcome {
    let name = read(&format!("{SIM}/ejectors/chip_name"))?;
    for chip in [format!("/dev/{name}"), name, "lab-ejectors".into()] {
        for (line, offset) in [("REJECT", 0), ("LAMP", 1), ("5", 5)] {
            let levels = cycle(settings(&chip, line, false), offset)?;
            hold!(levels == "010", "line {line} of {chip}: levels {levels}");
        }
    }
    Ok("levels 0, 1, 0 for three chips' names and three lines".into())
}

fn active_low() -> Outcome {
    let levels = cycle(settings("lab-ejectors", "REJECT", true), 0)?;
    hold!(levels == "101", "levels {levels}");
    Ok("levels 1, 0, 1".into())
}

fn refusals() -> Outcome {
    let held = GpioOutput::open("ejector", settings("lab-ejectors", "REJECT", false), Role::Reject)?;
    let cases = [
        (settings("lab-ejectors", "TAKEN", false), "held by \"somebody-else\""),
        (settings("lab-ejectors", "REJECT", false), "held by \"hgad\""),
        (settings("lab-ejectors", "EJECT", false), "REJECT (held by \"hgad\"), LAMP"),
        (settings("no-such-chip", "REJECT", false), "(lab-ejectors)"),
    ];
    let mut said = Vec::new();
    for (settings, words) in cases {
        let Err(error) = GpioOutput::open("second", settings, Role::Reject) else {
            return Err(format!("no error that says {words}").into());
        };
        hold!(error.report().contains(words), "{}", error.report());
        said.push(error.to_string());
    }
    drop(held);
    let levels = cycle(settings("lab-ejectors", "REJECT", false), 0)?;
    hold!(levels == "010", "after it was given back: levels {levels}");
    Ok(said.join("; "))
}

fn chip_lost() -> Outcome {
    let mut output = GpioOutput::open("ejector", settings("lab-ejectors", "REJECT", false), Role::Reject)?;
    fs::write(format!("{SIM}/live"), "0")?;
    let Err(lost) = output.activate(&Occasion::default()) else {
        return Err("a line of a chip that is gone was set".into());
    };
    let Err(absent) = output.release() else { return Err("a line of a chip that is gone was requested".into()) };
    fs::write(format!("{SIM}/live"), "1")?;
    output.activate(&Occasion::default())?;
    let up = Line(0).level()?;
    output.release()?;
    hold!(up + &Line(0).level()? == "10", "the line does not follow after the chip came back");
    Ok(format!("{lost}; {absent}; back: levels 1, 0"))
}
