//! That no two sections mean one line, coil, register or port: what drives one would act on the other.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{EncoderConfig, InputConfig, LineConfig, OutputConfig};
use crate::inputs::encoder::Width;
use crate::inputs::modbus::Source;
use crate::modbus::{Bits, Registers, Server};
use crate::outputs::modbus::Target;
use crate::{Error, Result};

const ADVICE: &str = "what drives the one would act on the other, or be taken for it: give each section a line, coil, register or port of its own";

/// What a section takes for itself.
#[derive(Debug, PartialEq)]
enum Claim {
    /// A chip's line.
    Line(String, String),
    /// A serial port.
    Port(PathBuf),
    /// A bit of a PLC's tables of bits.
    Bit(Unit, Bits, u16),
    /// A register of a PLC, or one bit of it.
    Register(Unit, Registers, u16, Option<u8>),
}

/// A PLC, or one of those behind a gateway: host, port and unit.
type Unit = (String, u16, u8);

/// Refuses a configuration of which two sections claim the same.
///
/// # Errors
///
/// They are named, with the place of the second one.
pub(super) fn check(config: &LineConfig) -> Result<()> {
    let mut taken = Vec::<(String, Claim)>::new();
    for (section, claims) in sections(config) {
        let met = claims.iter().find_map(|claim| taken.iter().find(|(_, other)| claim.meets(other)));
        if let Some((other, claim)) = met {
            let what = format!("{claim} is what [{other}] has already");
            return Err(config.blame(&section, Error::usage(what).advise(ADVICE)));
        }
        taken.extend(claims.into_iter().map(|claim| (section.clone(), claim)));
    }
    Ok(())
}

/// Every section with a device beside the camera, and what it claims.
fn sections(config: &LineConfig) -> Vec<(String, Vec<Claim>)> {
    let devices = &config.devices;
    let mut sections = Vec::new();
    for lane in &config.lanes {
        sections.push((lane.key("output"), of_output(&lane.output)));
        let sensors = [("photo_eye", &lane.photo_eye), ("confirm", &lane.confirm)];
        sections
            .extend(sensors.into_iter().filter_map(|(name, input)| Some((lane.key(name), of_input(input.as_ref()?)))));
    }
    let common = [("photo_eye", &devices.photo_eye), ("bin", &devices.bin)];
    sections.extend(common.into_iter().filter_map(|(name, input)| Some((name.to_owned(), of_input(input.as_ref()?)))));
    sections.extend(devices.encoder.iter().map(|encoder| ("belt".to_owned(), of_encoder(&encoder.config))));
    let heartbeat = devices.heartbeat.as_ref().map(|heartbeat| &heartbeat.output);
    let signals =
        [("stop_line", devices.stop_line.as_ref()), ("alarm", devices.alarm.as_ref()), ("heartbeat", heartbeat)];
    sections.extend(signals.into_iter().filter_map(|(name, output)| Some((name.to_owned(), of_output(output?)))));
    sections
}

fn of_output(output: &OutputConfig) -> Vec<Claim> {
    match output {
        // A link below /dev/serial/by-id and what it leads to are one port.
        OutputConfig::Serial(serial) => vec![Claim::Port(serial.port.canonicalize().unwrap_or(serial.port.clone()))],
        OutputConfig::Gpio(settings) => vec![line(&settings.chip, &settings.line)],
        OutputConfig::Modbus(settings) => vec![match settings.target {
            Target::Coil { address, .. } => Claim::Bit(unit(&settings.server), Bits::Coils, address),
            Target::Register { address, .. } => {
                Claim::Register(unit(&settings.server), Registers::Holding, address, None)
            }
        }],
        OutputConfig::None => Vec::new(),
    }
}

fn of_input(input: &InputConfig) -> Vec<Claim> {
    vec![match input {
        InputConfig::Gpio(settings) => line(&settings.chip, &settings.line),
        InputConfig::Modbus(settings) => match settings.source {
            Source::Bit(table, address) => Claim::Bit(unit(&settings.server), table, address),
            Source::OfRegister(table, address, bit) => {
                Claim::Register(unit(&settings.server), table, address, Some(bit))
            }
        },
    }]
}

fn of_encoder(encoder: &EncoderConfig) -> Vec<Claim> {
    match encoder {
        EncoderConfig::Gpio(settings) => [&settings.a, &settings.b].map(|name| line(&settings.chip, name)).into(),
        EncoderConfig::Modbus(settings) => {
            let words = if settings.width == Width::Bits16 { 1 } else { 2 };
            let register =
                |k| Claim::Register(unit(&settings.server), settings.table, settings.address.saturating_add(k), None);
            (0..words).map(register).collect()
        }
    }
}

/// A chip's path and its name are one chip; that a label, or an offset, means the same is known when they are opened.
fn line(chip: &str, line: &str) -> Claim {
    let name = Path::new(chip).strip_prefix("/dev").ok().and_then(Path::to_str).unwrap_or(chip);
    Claim::Line(name.to_owned(), line.to_owned())
}

fn unit(server: &Server) -> Unit {
    (server.host.clone(), server.port, server.unit)
}

impl Claim {
    /// Whether both are the same, or one is part of the other.
    fn meets(&self, other: &Claim) -> bool {
        match (self, other) {
            (Claim::Register(unit, table, address, bit), Claim::Register(unit2, table2, address2, bit2)) => {
                let is_same = (unit, table, address) == (unit2, table2, address2);
                is_same && (bit == bit2 || bit.is_none() || bit2.is_none())
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |(host, port, unit): &Unit| format!("of {host}:{port} unit {unit}");
        match self {
            Claim::Line(chip, line) => write!(f, "line {line} of {chip}"),
            Claim::Port(port) => write!(f, "port {}", port.display()),
            Claim::Bit(unit, table, address) => write!(f, "{} {}", Source::Bit(*table, *address), told(unit)),
            Claim::Register(unit, Registers::Holding, address, _) => {
                write!(f, "holding register {address} {}", told(unit))
            }
            Claim::Register(unit, Registers::Input, address, _) => write!(f, "input register {address} {}", told(unit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::LineConfig;
    use crate::config::tests::WHOLE;

    /// What is said of a whole file with that output, and with these sections behind it.
    fn refused(output: &str, rest: &str) -> Option<String> {
        let (head, tail) = WHOLE.split_once("[output]").unwrap();
        let (_, audit) = tail.split_once("[audit]").unwrap();
        let head =
            if rest.contains("[belt]") { head.replace("travel_ms = 400", "travel_mm = 300") } else { head.to_owned() };
        let text = format!("{head}[output]\n{output}\n[audit]{audit}\n{rest}");
        LineConfig::parse(std::path::Path::new("line.toml"), &text).err().map(|error| error.report())
    }

    #[test]
    fn two_sections_on_one_thing_are_refused_with_the_place_of_the_second() {
        let coil = |unit: u8| format!("kind = \"modbus\"\nserver = \"plc\"\nunit = {unit}\ncoil = 7\n");
        let told = refused(&coil(1), &format!("[alarm]\n{}", coil(1))).unwrap();
        let place = WHOLE.split_once("[output]").unwrap().0.lines().count() + 10;
        assert!(
            told.contains(&format!(
                "line.toml:{place}:1: alarm: coil 7 of plc:502 unit 1 is what [output] has already"
            )),
            "{told}"
        );
        assert_eq!(refused(&coil(1), &format!("[alarm]\n{}", coil(2))), None, "another unit's");

        let gpio = |chip: &str, line: &str| format!("kind = \"gpio\"\nchip = \"{chip}\"\nline = \"{line}\"\n");
        let (output, stop) =
            (gpio("gpiochip0", "GPIO17"), format!("[stop_line]\n{}", gpio("/dev/gpiochip0", "GPIO17")));
        assert!(
            refused(&output, &stop).unwrap().contains("line GPIO17 of gpiochip0 is what [output] has"),
            "the chip's path"
        );
        assert_eq!(refused(&output, &stop.replace("17", "18")), None);
        let eye_on_output = format!("[confirm]\n{}until_ms = 90\n", gpio("gpiochip0", "GPIO17"));
        assert!(refused(&output, &eye_on_output).unwrap().contains("[output]"), "the ejector would confirm itself");
        let encoder = "[belt]\nkind = \"gpio\"\nchip = \"gpiochip0\"\na = \"A\"\nb = \"GPIO17\"\nmm_per_count = 1\n";
        assert!(refused(&output, encoder).unwrap().contains("belt: line GPIO17 of gpiochip0 is what [output] has"));
        let told = refused("kind = \"none\"", &format!("{encoder}[bin]\n{}", gpio("gpiochip0", "A"))).unwrap();
        assert!(told.contains("belt: line A of gpiochip0 is what [bin] has already"), "{told}");

        let serial = "kind = \"serial\"\nport = \"/dev/ttyUSB0\"\nmessage = \"A\"\nrelease = \"B\"\nbaud = 115200\n";
        let told = refused(serial, &format!("[alarm]\n{serial}")).unwrap();
        assert!(told.contains("alarm: port /dev/ttyUSB0 is what [output] has already"), "{told}");
    }

    #[test]
    fn bits_of_one_register_are_told_apart_and_its_whole_is_not_shared() {
        let bit = |bit: u8| format!("kind = \"modbus\"\nserver = \"plc\"\nholding_register = 4\nbit = {bit}\n");
        let (bin, confirm) = (|n| format!("[bin]\n{}", bit(n)), |n| format!("[confirm]\n{}until_ms = 90\n", bit(n)));
        let none = "kind = \"none\"\n";
        assert_eq!(refused(none, &(bin(0) + &confirm(1))), None);
        let told = refused(none, &(bin(1) + &confirm(1))).unwrap();
        assert!(told.contains("bin: holding register 4 of plc:502 unit 1 is what [confirm] has already"), "{told}");
        let whole = "kind = \"modbus\"\nserver = \"plc\"\nholding_register = 4\n";
        assert!(refused(whole, &bin(3)).unwrap().contains("[output]"), "a bit of what is written");
    }
}
