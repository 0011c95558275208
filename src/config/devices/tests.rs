use std::path::Path;

use super::*;
use crate::inputs::modbus::Source;

/// What `read` makes of `keys` in a section.
fn section<T>(keys: &str, read: impl FnOnce(&mut Document, &str) -> Checked<T>) -> crate::Result<T> {
    let (path, text) = (Path::new("line.toml"), format!("[device]\n{keys}"));
    let mut document = Document::parse(path, &text).map_err(|complaint| complaint.at(path, &text))?;
    read(&mut document, "device").map_err(|complaint| complaint.at(path, &text))
}

fn output(keys: &str) -> crate::Result<OutputConfig> {
    let rules = crate::config::LineConfig::parse(Path::new("line.toml"), crate::config::tests::WHOLE)?.rules;
    section(keys, |document, name| document.output(name, rules.lanes[0].ejector.tolerance))
}

fn input(keys: &str) -> crate::Result<InputConfig> {
    section(keys, |document, name| document.input(name, Edges::Both))
}

fn encoder_of(keys: &str) -> crate::Result<EncoderConfig> {
    section(keys, |document, name| document.encoder(name))
}

fn at(host: &str, port: u16, unit: u8, ms: u64) -> Server {
    Server { host: host.into(), port, unit, timeout: Duration::from_millis(ms) }
}

#[test]
fn outputs_are_read() {
    let serial = "kind = \"serial\"\nport = \"/dev/ttyS0\"\nmessage = \"{part};\"\nack = \"OK\"\nack_timeout_ms = 20";
    let OutputConfig::Serial(serial) = output(serial).unwrap() else { panic!("not serial") };
    assert_eq!(serial.message, Template::parse("{part};").unwrap());
    assert_eq!(serial.ack, Some(Ack { answer: b"OK".to_vec(), timeout: Duration::from_millis(20) }));

    let gpio = "kind = \"gpio\"\nchip = \"c\"\nline = \"l\"\nbias = \"pull-down\"\ndrive = \"open-source\"";
    let OutputConfig::Gpio(gpio) = output(gpio).unwrap() else { panic!("not gpio") };
    assert_eq!((gpio.bias, gpio.drive), (Some(Bias::PullDown), gpio::Drive::OpenSource));

    let coil = "kind = \"modbus\"\nserver = \"plc\"\ncoil = 16\nactive_low = true\nwrite = \"multiple\"";
    let target = modbus::Target::Coil { address: 16, active_low: true };
    let settings = modbus::Settings { server: at("plc", 502, 1, 50), target, multiple: true };
    assert_eq!(output(coil).unwrap(), OutputConfig::Modbus(settings));
    assert_eq!(output(coil).unwrap().to_string(), "modbus plc:502 unit 1 coil 16");

    let register =
        "kind = \"modbus\"\nserver = \"[::1]:1502\"\nunit = 7\ntimeout_ms = 20\nholding_register = 3\nreleased = 9";
    let target = modbus::Target::Register { address: 3, active: 1, released: 9 };
    let settings = modbus::Settings { server: at("::1", 1502, 7, 20), target, multiple: false };
    assert_eq!(output(register).unwrap(), OutputConfig::Modbus(settings));
}

#[test]
fn inputs_are_read() {
    let gpio = "kind = \"gpio\"\nchip = \"c\"\nline = \"EYE\"\nactive_low = true\nbias = \"pull-up\"\ndebounce_ms = 0";
    let settings = inputs::gpio::Settings {
        chip: "c".into(),
        line: "EYE".into(),
        active_low: true,
        bias: Some(Bias::PullUp),
        debounce: Duration::ZERO,
        edges: Edges::Both,
    };
    assert_eq!(input(gpio).unwrap(), InputConfig::Gpio(settings));

    let modbus = "kind = \"modbus\"\nserver = \"10.0.0.1\"\n";
    let sources = [
        ("coil = 1", Source::Bit(Bits::Coils, 1)),
        ("discrete_input = 2", Source::Bit(Bits::DiscreteInputs, 2)),
        ("holding_register = 3", Source::OfRegister(Registers::Holding, 3, 0)),
        ("input_register = 4\nbit = 15", Source::OfRegister(Registers::Input, 4, 15)),
    ];
    for (keys, source) in sources {
        let settings = inputs::modbus::Settings {
            server: at("10.0.0.1", 502, 1, 50),
            source,
            period: PERIOD,
            active_low: false,
            debounce: Duration::ZERO,
            edges: Edges::Both,
        };
        assert_eq!(input(&format!("{modbus}{keys}")).unwrap(), InputConfig::Modbus(settings));
    }
}

#[test]
fn encoders_are_read() {
    let gpio = "kind = \"gpio\"\nchip = \"c\"\na = \"A\"\nb = \"B\"\nresolution = \"x2\"";
    let (chip, a, b) = ("c".into(), "A".into(), "B".into());
    let settings = encoder::Settings { chip, a, b, bias: None, resolution: Resolution::X2 };
    assert_eq!(encoder_of(gpio).unwrap(), EncoderConfig::Gpio(settings));

    let modbus = "kind = \"modbus\"\nserver = \"plc:503\"\ninput_register = 8\nperiod_ms = 5\n";
    let widths = [
        ("", Width::Bits16),
        ("bits = 16", Width::Bits16),
        ("bits = 32", Width::Bits32HighFirst),
        ("bits = 32\nword_order = \"low-first\"", Width::Bits32LowFirst),
    ];
    for (keys, width) in widths {
        let (server, period) = (at("plc", 503, 1, 50), Duration::from_millis(5));
        let settings = RegisterSettings { server, table: Registers::Input, address: 8, width, period };
        assert_eq!(encoder_of(&format!("{modbus}{keys}")).unwrap(), EncoderConfig::Modbus(settings));
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let plc = "kind = \"modbus\"\nserver = \"plc\"\n";
    let gpio = "kind = \"gpio\"\nchip = \"c\"\nline = \"l\"\n";
    let refused = |error: crate::Error, says: &str| {
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.to_string().contains(says), "{says}\n  is not\n{error}");
        assert!(error.report().contains("\n  try: "), "{}", error.report());
    };
    for (keys, says) in [
        (plc.to_owned(), ":3:10: one of coil and holding_register is wanted"),
        (format!("{plc}coil = 1\nholding_register = 2"), ":5:20: one of coil and holding_register"),
        (format!("{plc}coil = 1\nactive = 2"), ":5:10: a coil is on or off"),
        (format!("{plc}holding_register = 1\nactive_low = true"), ":5:14: a register has no low level"),
        (format!("{plc}holding_register = 1\nactive = 0"), ":5:10: active and released are the same value"),
        (format!("{plc}coil = 65536"), ":4:8: coil is to be"),
        (format!("{plc}coil = 1\nwrite = \"many\""), ":5:9: write cannot be 'many'"),
        (plc.replace("plc", "plc:modbus"), ":3:10: 'modbus' is no port"),
        (plc.replace("\"plc\"", "\"\""), ":3:10: server is empty"),
        (format!("{gpio}bias = \"up\""), ":5:8: bias cannot be 'up'"),
        (format!("{gpio}drive = \"open\""), ":5:9: drive cannot be 'open'"),
    ] {
        refused(output(&keys).expect_err(says), says);
    }
    for (keys, says) in [
        (format!("{gpio}debounce_ms = -1"), ":5:15: debounce_ms must be greater than 0"),
        (format!("{gpio}debounce_ms = 5000"), ":5:15: debounce_ms must be at most 1000"),
        (plc.to_owned(), ":1:1: one of coil, discrete_input, holding_register and input_register is wanted"),
        (format!("{plc}coil = 1\ndiscrete_input = 1"), ":1:1: one of coil"),
        (format!("{plc}coil = 1\nbit = 1"), ":5:7: bit is for registers alone"),
        (format!("{plc}input_register = 1\nbit = 16"), ":5:7: bit must be at most 15"),
        ("kind = \"serial\"".to_owned(), ":2:8: there is no device of kind 'serial'"),
    ] {
        refused(input(&keys).expect_err(says), says);
    }
    for (keys, says) in [
        ("kind = \"gpio\"\nchip = \"c\"\na = \"A\"\nb = \"A\"".to_owned(), ":5:5: a and b are the same line"),
        (plc.to_owned(), ":1:1: one of holding_register and input_register is wanted"),
        (format!("{plc}input_register = 1\nbits = 24"), ":5:8: a count has 16 or 32 bits, not 24"),
        (format!("{plc}input_register = 1\nword_order = \"low-first\""), ":5:14: word_order is for 32 bits alone"),
    ] {
        refused(encoder_of(&keys).expect_err(says), says);
    }
}
