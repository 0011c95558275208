//! Checks of the serial output on a USB serial adapter: the kernel's gadget (`/dev/ttyGS0`), plugged into the kernel's dummy
//! host (`/dev/ttyACM0`).

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hgad::config::{Ack, SerialConfig};
use hgad::line::PartId;
use hgad::outputs::serial::SerialOutput;
use hgad::outputs::{Occasion, Output, Role, Template};
use hgad::time::Monotonic;

use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] =
    &[("serial over USB", messages), ("serial acknowledged", acknowledged), ("serial unplugged and back", unplugged)];

type Failure = Box<dyn std::error::Error>;

/// Where the adapter is plugged in.
pub const PORT: &str = "/dev/ttyACM0";
const GADGET: &str = "/dev/ttyGS0";
/// Whether the host may use the adapter. Without leave its port is gone, as when it is pulled out; the dummy host does not find
/// an adapter again that its own side has disconnected.
pub const PLUG: &str = "/sys/bus/usb/devices/1-1/authorized";
const PATIENCE: Duration = Duration::from_secs(5);

fn config(ack: Option<Ack>) -> Result<SerialConfig, Failure> {
    let [message, release] = [Template::parse("R{part};")?, Template::parse("-;")?];
    Ok(SerialConfig { port: PORT.into(), baud: 115_200, message, release: Some(release), ack })
}

fn part(number: u64) -> Occasion {
    Occasion { part: Some(PartId(number)), ..Occasion::default() }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failure> {
    let end = Monotonic::now() + PATIENCE;
    while !holds() {
        hold!(Monotonic::now() < end, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The gadget's end. It has one reader for all checks, since two would share out what arrives.
pub struct Gadget {
    answer: Mutex<&'static [u8]>,
    heard: Mutex<Receiver<String>>,
}

/// How often the gadget's end was opened, to be read from: it hangs up when it is unplugged. What is sent before it is open again
/// may be lost.
static OPENED: AtomicU64 = AtomicU64::new(0);

impl Gadget {
    /// The device, which answers each message with `answer` from now on.
    pub fn answering(answer: &'static [u8]) -> Result<&'static Self, Failure> {
        static GADGET_END: OnceLock<Gadget> = OnceLock::new();
        until(PORT, || Path::new(PORT).exists())?;
        let gadget = GADGET_END.get_or_init(|| {
            let (sender, heard) = channel();
            std::thread::spawn(move || {
                loop {
                    // It hangs up when it is unplugged.
                    let _ = Gadget::listen(&sender, || GADGET_END.get());
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            Gadget { answer: Mutex::new(b""), heard: Mutex::new(heard) }
        });
        until("the device at the other end", || OPENED.load(Ordering::Relaxed) > 0)?;
        *gadget.answer.lock().map_err(|_| "a check panicked")? = answer;
        raw(PORT)?;
        // What was said to an earlier check.
        gadget.heard_so_far()?;
        Ok(gadget)
    }

    fn listen(heard: &Sender<String>, gadget: impl Fn() -> Option<&'static Gadget>) -> Result<(), Failure> {
        raw(GADGET)?;
        let mut tty = File::options().read(true).write(true).open(GADGET)?;
        OPENED.fetch_add(1, Ordering::Relaxed);
        let (mut message, mut byte) = (String::new(), [0]);
        loop {
            tty.read_exact(&mut byte)?;
            message.push(byte[0].into());
            if byte == *b";" {
                let answer = gadget().map_or(&b""[..], |gadget| gadget.answer.lock().map_or(b"", |answer| *answer));
                tty.write_all(answer)?;
                heard.send(std::mem::take(&mut message))?;
            }
        }
    }

    /// What nobody has heard yet.
    pub fn heard_so_far(&self) -> Result<Vec<String>, Failure> {
        Ok(self.heard.lock().map_err(|_| "a check panicked")?.try_iter().collect())
    }

    fn hear(&self) -> Result<String, Failure> {
        Ok(self.heard.lock().map_err(|_| "a check panicked")?.recv_timeout(PATIENCE)?)
    }
}

/// Lets a tty pass on what it gets as it is.
fn raw(tty: &str) -> Result<(), Failure> {
    let status = Command::new("stty").args(["-F", tty, "raw", "-echo"]).status()?;
    hold!(status.success(), "stty {tty}: {status}");
    Ok(())
}

fn messages() -> Outcome {
    let device = Gadget::answering(b"")?;
    let mut output = SerialOutput::open(&config(None)?, Role::Reject)?;
    let mut said = device.hear()?;
    for number in [1, 2] {
        output.activate(&part(number))?;
        said += &device.hear()?;
    }
    output.release()?;
    said += &device.hear()?;
    hold!(said == "-;R1;R2;-;", "heard {said}");
    Ok(format!("heard {said}"))
}

fn acknowledged() -> Outcome {
    let ack = Some(Ack { answer: b"OK\n".to_vec(), timeout: Duration::from_secs(2) });
    let device = Gadget::answering(b"OK\n")?;
    let mut output = SerialOutput::open(&config(ack.clone())?, Role::Reject)?;
    let mut took = Vec::new();
    for number in 0..20 {
        let began = Monotonic::now();
        output.activate(&part(number))?;
        took.push(Monotonic::now().millis_since(began));
    }
    took.sort_by(f64::total_cmp);
    let heard = (0..21).map(|_| device.hear()).collect::<Result<Vec<_>, _>>()?.len();
    drop(output);
    let mute = Gadget::answering(b"?")?;
    let Err(error) = SerialOutput::open(&config(ack)?, Role::Reject) else {
        return Err("no answer was an answer".into());
    };
    mute.hear()?;
    hold!(error.report().contains("did not acknowledge"), "{}", error.report());
    Ok(format!("{heard} messages, each acknowledged in {:.1} ms at the median; {}", took[10], error.line()))
}

fn unplugged() -> Outcome {
    let device = Gadget::answering(b"")?;
    let mut output = SerialOutput::open(&config(None)?, Role::Reject)?;
    device.hear()?;
    let opened = OPENED.load(Ordering::Relaxed);
    std::fs::write(PLUG, "0")?;
    until("the device, which noticed it,", || OPENED.load(Ordering::Relaxed) > opened)?;
    until("the end of the port", || !Path::new(PORT).exists() || output.activate(&part(1)).is_err())?;
    let Err(lost) = output.activate(&part(2)) else { return Err("a message to an adapter that is gone".into()) };
    std::fs::write(PLUG, "1")?;
    let began = Monotonic::now();
    let again = Gadget::answering(b"")?;
    until("the adapter", || output.release().is_ok())?;
    let back = Monotonic::now().millis_since(began);
    output.activate(&part(3))?;
    let mut said = String::new();
    while !said.ends_with("R3;") {
        said += &again.hear()?;
    }
    Ok(format!("{}; back {back:.0} ms after it was plugged in: heard {said}", lost.line()))
}
