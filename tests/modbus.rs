//! Modbus TCP against real servers: `rmodbus`, and pymodbus where a Python has it.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::beside;
use common::plc::Plc;
use hgad::ErrorKind;
use hgad::inputs::encoder::{Encoder, RegisterEncoder, RegisterSettings, Width};
use hgad::inputs::modbus::{ModbusInput, Settings as InputSettings, Source};
use hgad::inputs::{Edges, Input, Sense};
use hgad::modbus::{Bits, Client, Registers, Server};
use hgad::outputs::firing::Firing;
use hgad::outputs::modbus::{ModbusOutput, Settings, Target};
use hgad::outputs::{Occasion, Output, Role};
use hgad::time::Monotonic;
use rmodbus::server::context::ModbusContext;

/// So long that a loaded machine answers in time.
const TIMEOUT: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_millis(2);

fn server(address: SocketAddr) -> Server {
    Server { host: address.ip().to_string(), port: address.port(), unit: 1, timeout: TIMEOUT }
}

/// Every function code, against a server whose input registers hold 100, 101, ... and whose discrete inputs are 1, 0, 1, ...
fn speaks_every_function_code(address: SocketAddr) {
    let mut client = Client::open(server(address)).unwrap();
    client.write_coil(3, true).unwrap();
    client.write_coils(8, &[true, false, true, true, false, false, false, false, true]).unwrap();
    let coils = client.read_bits(Bits::Coils, 0, 19).unwrap();
    let set = (0..19).filter(|&at| coils[at]).collect::<Vec<_>>();
    assert_eq!(set, [3, 8, 10, 11, 16]);
    client.write_coil(3, false).unwrap();
    assert_eq!(client.read_bits(Bits::Coils, 3, 1).unwrap(), [false]);
    client.write_register(5, 0xbeef).unwrap();
    client.write_registers(6, &[1, 0xffff]).unwrap();
    assert_eq!(client.read_registers(Registers::Holding, 4, 4).unwrap(), [0, 0xbeef, 1, 0xffff]);
    assert_eq!(client.read_registers(Registers::Input, 1, 2).unwrap(), [101, 102]);
    assert_eq!(client.read_bits(Bits::DiscreteInputs, 0, 3).unwrap(), [true, false, true]);

    let refused = client.read_registers(Registers::Holding, 60_000, 1).expect_err("there is no such register");
    assert_eq!(refused.kind(), ErrorKind::Device);
    assert!(refused.report().contains("counts from 0"), "{}", refused.report());
    assert_eq!(client.read_registers(Registers::Holding, 5, 1).unwrap(), [0xbeef], "the connection stays");
}

#[test]
fn every_function_code_is_understood_by_rmodbus() {
    let plc = Plc::start();
    plc.tables(|tables| {
        (0..64).for_each(|at| tables.set_input(at, 100 + at).unwrap());
        (0..64).for_each(|at| tables.set_discrete(at, at % 2 == 0).unwrap());
    });
    speaks_every_function_code(plc.address);
}

/// pymodbus, which says on which port it listens: on the one that it is told, or any.
const PYMODBUS: &str = "
import asyncio, sys
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

async def main():
    def table(kind, values): return [SimData(0, values=values, datatype=kind)]
    device = SimDevice(1, ([SimData(0, values=[False] * 64, datatype=DataType.BITS)],
        table(DataType.BITS, [at % 2 == 0 for at in range(64)]),
        table(DataType.REGISTERS, [0] * 64),
        table(DataType.REGISTERS, [100 + at for at in range(64)])))
    server = ModbusTcpServer(device, address=('127.0.0.1', int(sys.argv[1])))
    await server.listen()
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
";

struct Pymodbus(Child, SocketAddr);

impl Pymodbus {
    /// `None`, and a word about it, where no Python has it.
    fn start() -> Option<Self> {
        Self::start_at(0)
    }

    fn start_at(port: u16) -> Option<Self> {
        let python = beside::python_with("pymodbus.simulator", "pymodbus 3.13 or newer")?;
        let mut child = Command::new(python)
            .args(["-c", PYMODBUS, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("pymodbus listens");
        Some(Pymodbus(child, ([127, 0, 0, 1], port).into()))
    }
}

impl Drop for Pymodbus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_function_code_is_understood_by_pymodbus() {
    let Some(pymodbus) = Pymodbus::start() else { return };
    speaks_every_function_code(pymodbus.1);
}

#[test]
fn a_server_that_is_lost_while_nothing_is_to_do_is_missed_and_has_its_level_again_when_it_is_back() {
    let Some(pymodbus) = Pymodbus::start() else { return };
    let address = pymodbus.1;
    let target = Target::Coil { address: 7, active_low: false };
    let settings = Settings { server: server(address), target, multiple: false };
    let output = ModbusOutput::open("relay", settings, Role::StopLine).unwrap();
    let firing = Firing::start(Box::new(output), Duration::ZERO, || {}, |_| {}).unwrap();
    let waits_until = |works: bool| {
        let begun = Monotonic::now();
        while firing.health(Monotonic::now()).is_ok() != works {
            assert!(Monotonic::now().saturating_since(begun) < TIMEOUT, "works: {works}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // Nobody writes to it any more: it is a relay that holds.
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(firing.health(Monotonic::now()), Ok(()));
    drop(pymodbus);
    waits_until(false);
    let Some(_again) = Pymodbus::start_at(address.port()) else { return };
    waits_until(true);
    let coils = || Client::open(server(address)).unwrap().read_bits(Bits::Coils, 7, 1).unwrap();
    assert_eq!(coils(), [true], "a server that was restarted knows of nothing");
}

fn output(plc: &Plc, target: Target, multiple: bool, role: Role) -> ModbusOutput {
    ModbusOutput::open("ejector", Settings { server: server(plc.address), target, multiple }, role).unwrap()
}

#[test]
fn an_output_writes_its_levels_and_begins_with_the_safe_one() {
    let coil = |active_low| Target::Coil { address: 7, active_low };
    let register = Target::Register { address: 9, active: 40, released: 2 };
    let cases = [
        (coil(false), false, Role::Reject, 5, [0, 1, 0]),
        (coil(true), false, Role::Reject, 5, [1, 0, 1]),
        (coil(false), true, Role::Reject, 15, [0, 1, 0]),
        (coil(false), false, Role::StopLine, 5, [1, 1, 0]),
        (register, false, Role::Heartbeat, 6, [2, 40, 2]),
        (register, true, Role::Alarm, 16, [40, 40, 2]),
    ];
    for (target, multiple, role, code, values) in cases {
        let plc = Plc::start();
        let mut output = output(&plc, target, multiple, role);
        output.activate(&Occasion::default()).unwrap();
        output.release().unwrap();
        let address = if code == 5 || code == 15 { 7 } else { 9 };
        assert_eq!(plc.writes(), values.map(|value| (code, address, value)), "{target:?} {role:?}");
    }
}

#[test]
fn a_server_that_was_restarted_is_written_to_at_once() {
    let plc = Plc::start();
    let mut output = output(&plc, Target::Coil { address: 1, active_low: false }, false, Role::Reject);
    plc.cut();
    output.activate(&Occasion::default()).unwrap();
    assert_eq!(plc.writes().last(), Some(&(5, 1, 1)));
}

#[test]
fn a_server_that_closes_idle_connections_or_was_restarted_meanwhile_has_failed_nobody() {
    let plc = Plc::start();
    let mut output = output(&plc, Target::Coil { address: 1, active_low: false }, false, Role::Reject);
    output.look().unwrap();
    assert_eq!(plc.writes(), [(5, 1, 0)], "one that is there is not asked");
    plc.cut();
    let begun = Monotonic::now();
    while plc.writes().len() < 2 {
        output.look().unwrap();
        assert!(Monotonic::now().saturating_since(begun) < TIMEOUT, "it is not noticed");
    }
    assert_eq!(plc.writes(), [(5, 1, 0), (5, 1, 0)], "its level is written again");
}

#[test]
fn a_server_that_was_restarted_while_an_output_stood_has_failed_once() {
    let plc = Plc::start();
    let mut output = output(&plc, Target::Coil { address: 1, active_low: false }, false, Role::Reject);
    output.hold().unwrap();
    plc.cut();
    let begun = Monotonic::now();
    let error = loop {
        assert!(Monotonic::now().saturating_since(begun) < TIMEOUT, "it is not noticed");
        if let Err(error) = output.look() {
            break error;
        }
    };
    assert!(error.report().contains("may have been off"), "{}", error.report());
    assert_eq!(plc.writes(), [(5, 1, 0), (5, 1, 1), (5, 1, 1)], "its level is written again");
    output.look().unwrap();
    assert_eq!(plc.writes().len(), 3);
}

#[test]
fn what_nobody_asked_for_does_not_hide_that_a_server_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::open(server(listener.local_addr().unwrap())).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    assert!(client.is_connected());
    connection.write_all(&[7]).unwrap();
    let begun = Monotonic::now();
    while client.is_connected() {
        assert!(Monotonic::now().saturating_since(begun) < TIMEOUT, "it is not noticed");
    }
}

#[test]
fn a_server_that_does_not_answer_is_an_error_and_answers_again() {
    let plc = Plc::start();
    let settings = Settings {
        server: Server { timeout: Duration::from_millis(50), ..server(plc.address) },
        target: Target::Coil { address: 1, active_low: false },
        multiple: false,
    };
    let mut output = ModbusOutput::open("ejector", settings, Role::Reject).unwrap();
    plc.silence(true);
    let error = output.activate(&Occasion::default()).expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.report().contains("does not answer within 50 ms"), "{}", error.report());
    plc.silence(false);
    while output.release().is_err() {}
    assert_eq!(plc.writes().last(), Some(&(5, 1, 0)));
}

fn input(plc: &Plc, source: Source, active_low: bool, edges: Edges) -> ModbusInput {
    let (server, debounce) = (server(plc.address), Duration::ZERO);
    ModbusInput::open("eye", InputSettings { server, source, period: PERIOD, active_low, debounce, edges }).unwrap()
}

#[test]
fn an_input_tells_the_edges_of_its_bit() {
    let plc = Plc::start();
    let set = |on: bool| {
        plc.tables(|tables| {
            tables.set_coil(4, on).unwrap();
            tables.set_discrete(4, on).unwrap();
            tables.set_holding(4, if on { 0b0101_0000 } else { 0b0001_0000 }).unwrap();
            tables.set_input(4, if on { 0x8000 } else { 0x7fff }).unwrap();
        });
    };
    let sources = [
        Source::Bit(Bits::Coils, 4),
        Source::Bit(Bits::DiscreteInputs, 4),
        Source::OfRegister(Registers::Holding, 4, 6),
        Source::OfRegister(Registers::Input, 4, 15),
    ];
    for source in sources {
        set(false);
        let mut input = input(&plc, source, false, Edges::Both);
        let started = Monotonic::now();
        assert!(!input.level().unwrap());
        assert_eq!(input.wait(Duration::from_millis(20)).unwrap(), Sense::Nothing, "{source:?}");
        for active in [true, false] {
            set(active);
            let Sense::Edge(edge) = input.wait(TIMEOUT).unwrap() else { panic!("no edge of {source:?}") };
            assert_eq!((edge.active, input.level().unwrap()), (active, active), "{source:?}");
            assert!(started < edge.at && edge.at < Monotonic::now());
        }
    }
}

#[test]
fn an_input_that_is_active_low_tells_the_edges_that_are_wanted() {
    let plc = Plc::start();
    let mut input = input(&plc, Source::Bit(Bits::Coils, 0), true, Edges::Active);
    assert!(input.level().unwrap());
    plc.tables(|tables| tables.set_coil(0, true)).unwrap();
    assert_eq!(input.wait(Duration::from_millis(50)).unwrap(), Sense::Nothing, "it became inactive");
    plc.tables(|tables| tables.set_coil(0, false)).unwrap();
    assert!(matches!(input.wait(TIMEOUT).unwrap(), Sense::Edge(edge) if edge.active));
}

#[test]
fn a_count_is_followed_over_its_wrap_around_and_a_silence_is_a_gap() {
    let plc = Plc::start();
    let show = |count: u32| {
        plc.tables(|tables| {
            tables.set_input(2, (count >> 16) as u16).unwrap();
            tables.set_input(3, count as u16).unwrap();
        });
    };
    show(u32::MAX - 9);
    let settings = RegisterSettings {
        server: Server { timeout: Duration::from_millis(200), ..server(plc.address) },
        table: Registers::Input,
        address: 2,
        width: Width::Bits32HighFirst,
        period: PERIOD,
    };
    let mut encoder = RegisterEncoder::open("belt", settings).unwrap();
    assert_eq!(encoder.wait(Duration::from_millis(20)).unwrap(), None, "the belt stands");
    show(20);
    let count = encoder.wait(TIMEOUT).unwrap().expect("it moved");
    assert_eq!((count.count, count.doubts.gaps), (30, 0));
    plc.silence(true);
    assert!(encoder.wait(TIMEOUT).is_err());
    assert!(encoder.wait(TIMEOUT).is_err());
    plc.silence(false);
    show(1000);
    let count = loop {
        if let Ok(Some(count)) = encoder.wait(TIMEOUT) {
            break count;
        }
    };
    assert_eq!((count.count, count.doubts.gaps), (30, 1), "the way meanwhile is not known");
    show(998);
    let count = encoder.wait(TIMEOUT).unwrap().expect("it moved back");
    assert_eq!((count.count, count.doubts.turns), (28, 1));
}
