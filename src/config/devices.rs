//! The sections of outputs, inputs and encoders, as they are typed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::complaint::{self, Complaint};
use super::typed::{Checked, Document, at_most, empty, milliseconds, not_empty, positive, typed};
use super::{Ack, EncoderConfig, InputConfig, OutputConfig, SerialConfig};
use crate::gpio::Bias;
use crate::inputs::encoder::{self, RegisterSettings, Resolution, Width};
use crate::inputs::{self, Edges};
use crate::line::PartId;
use crate::modbus::{Bits, Registers, Server};
use crate::outputs::{Occasion, Template, gpio, modbus};

/// How long a level must last on an input to count, unless the configuration says otherwise.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// How often a Modbus server is asked, unless the configuration says otherwise.
const PERIOD: Duration = Duration::from_millis(10);

impl Document<'_> {
    /// The section of an output; a message over a serial port must be sent within `tolerance`.
    pub(super) fn output(&mut self, section: &str, tolerance: Duration) -> Checked<OutputConfig> {
        let (kind, table, place) = self.kind(section, &["serial", "gpio", "modbus", "none"])?;
        match kind.as_str() {
            "serial" => {
                typed::<SerialTyped>(section, table, place)?.validate(self, tolerance).map(OutputConfig::Serial)
            }
            "gpio" => typed::<GpioTyped>(section, table, place)?.validate().map(OutputConfig::Gpio),
            "modbus" => typed::<ModbusTyped>(section, table, place)?.validate().map(OutputConfig::Modbus),
            _ => typed::<NoneTyped>(section, table, place).map(|NoneTyped {}| OutputConfig::None),
        }
    }

    /// The section of an input of which `edges` are wanted.
    pub(super) fn input(&mut self, section: &str, edges: Edges) -> Checked<InputConfig> {
        let (kind, table, place) = self.kind(section, &["gpio", "modbus"])?;
        match kind.as_str() {
            "gpio" => typed::<GpioInputTyped>(section, table, place)?.validate(edges).map(InputConfig::Gpio),
            _ => typed::<ModbusInputTyped>(section, table, place.clone())?
                .validate(place, edges)
                .map(InputConfig::Modbus),
        }
    }

    pub(super) fn encoder(&mut self, section: &str) -> Checked<EncoderConfig> {
        let kinds: &[&str] = if section == "belt" { &["speed", "gpio", "modbus"] } else { &["gpio", "modbus"] };
        let (kind, table, place) = self.kind(section, kinds)?;
        match kind.as_str() {
            "gpio" => typed::<GpioEncoderTyped>(section, table, place)?.validate().map(EncoderConfig::Gpio),
            _ => typed::<ModbusEncoderTyped>(section, table, place.clone())?.validate(place).map(EncoderConfig::Modbus),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialTyped {
    port: Spanned<String>,
    baud: Option<Spanned<u32>>,
    message: Spanned<Bytes>,
    release: Option<Spanned<Bytes>>,
    ack: Option<Spanned<Bytes>>,
    ack_timeout_ms: Option<Spanned<f64>>,
}

impl SerialTyped {
    const BAUD: u32 = 115_200;
    const ACK_TIMEOUT: Duration = Duration::from_millis(50);

    fn validate(&self, document: &Document, tolerance: Duration) -> Checked<SerialConfig> {
        let config = SerialConfig {
            port: document.path("port", &self.port)?,
            baud: self.baud.as_ref().map_or(Ok(Self::BAUD), |baud| positive("baud", baud))?,
            message: template("message", &self.message)?,
            release: self.release.as_ref().map(|typed| template("release", typed)).transpose()?,
            ack: self.ack()?,
        };
        let release = config.release.iter().zip(&self.release).map(|(template, typed)| ("release", template, typed));
        for (key, template, typed) in std::iter::once(("message", &config.message, &self.message)).chain(release) {
            let sending = config.sending(&template.fill(&a_long_story(), jiff::Timestamp::UNIX_EPOCH));
            // While the end of one pulse is sent, no other part can be rejected.
            if sending >= tolerance {
                return Err(Complaint::new(
                    typed.span(),
                    format!(
                        "the {key} takes {:.1} ms at {} baud, and after {:.1} ms (tolerance_ms) a reject is too late for its part",
                        sending.as_secs_f64() * 1e3,
                        config.baud,
                        tolerance.as_secs_f64() * 1e3
                    ),
                    "a shorter one, a higher baud, or a longer tolerance_ms in [line]",
                ));
            }
        }
        Ok(config)
    }

    fn ack(&self) -> Checked<Option<Ack>> {
        match (&self.ack, &self.ack_timeout_ms) {
            (None, None) => Ok(None),
            (None, Some(timeout)) => Err(Complaint::new(
                timeout.span(),
                "nothing is waited for without ack",
                format!("say what the device answers: {}", complaint::example("ack")),
            )),
            (Some(answer), timeout) => {
                let timeout =
                    timeout.as_ref().map_or(Ok(Self::ACK_TIMEOUT), |typed| milliseconds("ack_timeout_ms", typed))?;
                Ok(Some(Ack { answer: bytes("ack", answer)?, timeout }))
            }
        }
    }
}

/// What makes a message long.
fn a_long_story() -> Occasion {
    Occasion { part: Some(PartId(9_999_999_999)), class: Some("a product's name".into()), score: Some(-9999.0) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpioTyped {
    chip: Spanned<String>,
    line: Spanned<String>,
    active_low: Option<bool>,
    bias: Option<Bias>,
    drive: Option<gpio::Drive>,
}

impl GpioTyped {
    fn validate(&self) -> Checked<gpio::Settings> {
        Ok(gpio::Settings {
            chip: not_empty("chip", &self.chip)?,
            line: not_empty("line", &self.line)?,
            active_low: self.active_low.unwrap_or(false),
            bias: self.bias,
            drive: self.drive.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModbusTyped {
    server: Spanned<String>,
    unit: Option<u8>,
    timeout_ms: Option<Spanned<f64>>,
    coil: Option<Spanned<u16>>,
    holding_register: Option<Spanned<u16>>,
    active_low: Option<Spanned<bool>>,
    active: Option<Spanned<u16>>,
    released: Option<Spanned<u16>>,
    write: Option<Write>,
}

/// The function codes that writes use.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Write {
    Single,
    Multiple,
}

impl ModbusTyped {
    fn validate(&self) -> Checked<modbus::Settings> {
        Ok(modbus::Settings {
            server: server(&self.server, self.unit, &self.timeout_ms)?,
            target: self.target()?,
            multiple: self.write == Some(Write::Multiple),
        })
    }

    fn target(&self) -> Checked<modbus::Target> {
        let values = self.active.as_ref().or(self.released.as_ref());
        match (&self.coil, &self.holding_register) {
            (Some(coil), None) => match values {
                Some(value) => {
                    Err(Complaint::new(value.span(), "a coil is on or off", "leave it out, or write active_low = true"))
                }
                None => {
                    let active_low = self.active_low.as_ref().is_some_and(|typed| *typed.get_ref());
                    Ok(modbus::Target::Coil { address: *coil.get_ref(), active_low })
                }
            },
            (None, Some(register)) => {
                if let Some(active_low) = &self.active_low {
                    let advice = "say what is written: active = 0 and released = 1";
                    return Err(Complaint::new(active_low.span(), "a register has no low level", advice));
                }
                let value =
                    |typed: &Option<Spanned<u16>>, default| typed.as_ref().map_or(default, |typed| *typed.get_ref());
                let (active, released) = (value(&self.active, 1), value(&self.released, 0));
                match values.filter(|_| active == released) {
                    Some(typed) => {
                        let advice = "give active and released values that the server can tell apart";
                        Err(Complaint::new(typed.span(), "active and released are the same value", advice))
                    }
                    None => Ok(modbus::Target::Register { address: *register.get_ref(), active, released }),
                }
            }
            (_, register) => {
                let place = register.as_ref().map_or(self.server.span(), Spanned::span);
                Err(Complaint::new(place, "one of coil and holding_register is wanted", "write it as in: coil = 16"))
            }
        }
    }
}

/// `plc.local`, `192.168.0.10`, `192.168.0.10:1502`, `[fe80::1]:502`.
fn server(typed: &Spanned<String>, unit: Option<u8>, timeout: &Option<Spanned<f64>>) -> Checked<Server> {
    const PORT: u16 = 502;
    const TIMEOUT: Duration = Duration::from_millis(50);
    let text = not_empty("server", typed)?;
    let (host, port) = match (text.parse::<SocketAddr>(), text.rsplit_once(':')) {
        (Ok(address), _) => (address.ip().to_string(), address.port()),
        // An IPv6 address without a port has colons of its own.
        (_, Some((host, port))) if !host.contains(':') => {
            let port = port.parse().map_err(|_| {
                let what = format!("'{port}' is no port");
                Complaint::new(typed.span(), what, format!("write it as in: {}", complaint::example("server")))
            })?;
            (host.to_owned(), port)
        }
        _ => (text, PORT),
    };
    let timeout = timeout.as_ref().map_or(Ok(TIMEOUT), |typed| milliseconds("timeout_ms", typed))?;
    Ok(Server { host, port, unit: unit.unwrap_or(1), timeout })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoneTyped {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpioInputTyped {
    chip: Spanned<String>,
    line: Spanned<String>,
    active_low: Option<bool>,
    bias: Option<Bias>,
    debounce_ms: Option<Spanned<f64>>,
}

impl GpioInputTyped {
    fn validate(&self, edges: Edges) -> Checked<inputs::gpio::Settings> {
        Ok(inputs::gpio::Settings {
            chip: not_empty("chip", &self.chip)?,
            line: not_empty("line", &self.line)?,
            active_low: self.active_low.unwrap_or(false),
            bias: self.bias,
            debounce: debounce(&self.debounce_ms, DEBOUNCE)?,
            edges,
        })
    }
}

fn debounce(typed: &Option<Spanned<f64>>, default: Duration) -> Checked<Duration> {
    match typed {
        Some(typed) if *typed.get_ref() == 0.0 => Ok(Duration::ZERO),
        Some(typed) => at_most("debounce_ms", typed, positive("debounce_ms", typed)?, 1000.0)
            .map(|value| Duration::from_secs_f64(value / 1e3)),
        None => Ok(default),
    }
}

fn period(typed: &Option<Spanned<f64>>) -> Checked<Duration> {
    typed.as_ref().map_or(Ok(PERIOD), |typed| milliseconds("period_ms", typed))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModbusInputTyped {
    server: Spanned<String>,
    unit: Option<u8>,
    timeout_ms: Option<Spanned<f64>>,
    coil: Option<Spanned<u16>>,
    discrete_input: Option<Spanned<u16>>,
    holding_register: Option<Spanned<u16>>,
    input_register: Option<Spanned<u16>>,
    bit: Option<Spanned<u8>>,
    active_low: Option<bool>,
    debounce_ms: Option<Spanned<f64>>,
    period_ms: Option<Spanned<f64>>,
}

impl ModbusInputTyped {
    fn validate(&self, place: std::ops::Range<usize>, edges: Edges) -> Checked<inputs::modbus::Settings> {
        Ok(inputs::modbus::Settings {
            server: server(&self.server, self.unit, &self.timeout_ms)?,
            source: self.source(place)?,
            period: period(&self.period_ms)?,
            active_low: self.active_low.unwrap_or(false),
            debounce: debounce(&self.debounce_ms, Duration::ZERO)?,
            edges,
        })
    }

    fn source(&self, place: std::ops::Range<usize>) -> Checked<inputs::modbus::Source> {
        use inputs::modbus::Source;
        let bits = [(&self.coil, Bits::Coils), (&self.discrete_input, Bits::DiscreteInputs)];
        let registers = [(&self.holding_register, Registers::Holding), (&self.input_register, Registers::Input)];
        let bits = bits.into_iter().filter_map(|(typed, table)| Some(Source::Bit(table, *typed.as_ref()?.get_ref())));
        let bit = match &self.bit {
            None => 0,
            Some(typed) => at_most("bit", typed, *typed.get_ref(), 15)?,
        };
        let registers = registers
            .into_iter()
            .filter_map(|(typed, table)| Some(Source::OfRegister(table, *typed.as_ref()?.get_ref(), bit)));
        let source = one(bits.chain(registers), place, "coil, discrete_input, holding_register and input_register")?;
        match (&self.bit, &source) {
            (Some(bit), Source::Bit(..)) => {
                Err(Complaint::new(bit.span(), "bit is for registers alone", "leave it out, or name a register"))
            }
            _ => Ok(source),
        }
    }
}

/// The one thing that is named, of several that could be.
fn one<T>(mut named: impl Iterator<Item = T>, place: std::ops::Range<usize>, choice: &str) -> Checked<T> {
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        _ => {
            let advice = "write one of them with its address, which counts from 0: input_register = 16";
            Err(Complaint::new(place, format!("one of {choice} is wanted"), advice))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpioEncoderTyped {
    chip: Spanned<String>,
    a: Spanned<String>,
    b: Spanned<String>,
    bias: Option<Bias>,
    resolution: Option<Resolution>,
}

impl GpioEncoderTyped {
    fn validate(&self) -> Checked<encoder::Settings> {
        if self.a.get_ref() == self.b.get_ref() {
            let advice = "an encoder has two channels, a quarter of a period apart, each on a line of its own";
            return Err(Complaint::new(self.b.span(), "a and b are the same line", advice));
        }
        Ok(encoder::Settings {
            chip: not_empty("chip", &self.chip)?,
            a: not_empty("a", &self.a)?,
            b: not_empty("b", &self.b)?,
            bias: self.bias,
            resolution: self.resolution.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModbusEncoderTyped {
    server: Spanned<String>,
    unit: Option<u8>,
    timeout_ms: Option<Spanned<f64>>,
    holding_register: Option<Spanned<u16>>,
    input_register: Option<Spanned<u16>>,
    bits: Option<Spanned<u8>>,
    word_order: Option<Spanned<WordOrder>>,
    period_ms: Option<Spanned<f64>>,
}

/// Which half of a count of 32 bits comes first.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WordOrder {
    HighFirst,
    LowFirst,
}

impl ModbusEncoderTyped {
    fn validate(&self, place: std::ops::Range<usize>) -> Checked<RegisterSettings> {
        let tables = [(&self.holding_register, Registers::Holding), (&self.input_register, Registers::Input)];
        let named = tables.into_iter().filter_map(|(typed, table)| Some((table, *typed.as_ref()?.get_ref())));
        let (table, address) = one(named, place, "holding_register and input_register")?;
        let (width, period) = (self.width()?, period(&self.period_ms)?);
        Ok(RegisterSettings {
            server: server(&self.server, self.unit, &self.timeout_ms)?,
            table,
            address,
            width,
            period,
        })
    }

    fn width(&self) -> Checked<Width> {
        match (self.bits.as_ref().map(|bits| *bits.get_ref()), &self.word_order) {
            (None | Some(16), None) => Ok(Width::Bits16),
            (None | Some(16), Some(order)) => {
                Err(Complaint::new(order.span(), "word_order is for 32 bits alone", "leave it out, or write bits = 32"))
            }
            (Some(32), order) => Ok(match order.as_ref().map(|order| *order.get_ref()) {
                None | Some(WordOrder::HighFirst) => Width::Bits32HighFirst,
                Some(WordOrder::LowFirst) => Width::Bits32LowFirst,
            }),
            (Some(other), _) => {
                let place = self.bits.as_ref().map(Spanned::span).unwrap_or_default();
                Err(Complaint::new(
                    place,
                    format!("a count has 16 or 32 bits, not {other}"),
                    "write it as in: bits = 32",
                ))
            }
        }
    }
}

fn template(key: &str, typed: &Spanned<Bytes>) -> Checked<Template> {
    let bytes = bytes(key, typed)?;
    match (typed.get_ref().is_text, std::str::from_utf8(&bytes)) {
        (true, Ok(text)) => Template::parse(text).map_err(|why| {
            let advice = "the places are {part}, {class}, {score} and {time}; a brace is written twice: {{ and }}";
            Complaint::new(typed.span(), format!("{key} {why}"), advice)
        }),
        _ => Ok(Template::verbatim(&bytes)),
    }
}

fn bytes(key: &str, typed: &Spanned<Bytes>) -> Checked<Vec<u8>> {
    let bytes = &typed.get_ref().bytes;
    if bytes.is_empty() {
        return Err(empty(key, typed.span()));
    }
    // In single quotes TOML leaves escapes alone, and the PLC would see a backslash and a letter.
    if bytes.windows(2).any(|pair| pair[0] == b'\\' && b"nrtxue0".contains(&pair[1])) {
        let advice = r#"use double quotes ("REJECT\r\n"), or give the bytes as numbers ([92, 110])"#;
        let what = format!("{key} holds a backslash: its escapes were not interpreted");
        return Err(Complaint::new(typed.span(), what, advice));
    }
    Ok(bytes.clone())
}

/// A text's UTF-8 bytes, or bytes as numbers.
struct Bytes {
    bytes: Vec<u8>,
    is_text: bool,
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Message;
        impl<'de> Visitor<'de> for Message {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text or a list of bytes (0 to 255)")
            }
            fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes { bytes: text.as_bytes().to_vec(), is_text: true })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Bytes, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(|bytes| Bytes { bytes, is_text: false })
            }
        }
        deserializer.deserialize_any(Message)
    }
}

#[cfg(test)]
mod tests;
