//! Ejector, signals, sensors and encoder.

use std::time::Duration;

use super::Finding;
use super::spread::{Spread, ms};
use crate::Result;
use crate::config::{InputConfig, LineConfig, OutputConfig};
use crate::inputs::encoder::{Count, Encoder};
use crate::line::Length;
use crate::outputs::{Occasion, Output, Role};
use crate::runtime::{open_encoder, open_input, open_output};
use crate::time::Monotonic;

/// How often an output is told to stay at its safe level.
const ROUNDS: usize = 5;
/// How long one look at an encoder may take.
const LOOK: Duration = Duration::from_millis(100);

/// Opens every output, which brings it to its safe level, and measures how long it takes to tell it that again.
pub(super) fn outputs(config: &LineConfig, fire: bool, tell: &mut impl FnMut(Finding)) {
    let devices = &config.devices;
    let heartbeat = devices.heartbeat.as_ref().map(|heartbeat| &heartbeat.output);
    let ejectors = config.lanes.iter().zip(&config.rules.lanes).map(|(lane, rules)| {
        (lane.thing("ejector"), lane.key("output"), Some(&lane.output), Role::Reject, rules.ejector)
    });
    let signals = [
        ("stop line", "stop_line", devices.stop_line.as_ref(), Role::StopLine),
        ("alarm", "alarm", devices.alarm.as_ref(), Role::Alarm),
        ("heartbeat", "heartbeat", heartbeat, Role::Heartbeat),
    ];
    let first = config.rules.lanes[0].ejector;
    let signals = signals.map(|(what, key, setting, role)| (what.to_owned(), key.to_owned(), setting, role, first));
    if let (false, asked @ [_, ..]) = (config.can_stop_belt(), config.stops_asked_for().as_slice()) {
        tell(Finding::note(
            "stop line",
            format!("nothing stops the belt, and {} asks for it", asked.join(", ")),
            "this program would end, and the belt go on: wire [stop_line] or [heartbeat]",
        ));
    }
    for (what, key, setting, role, ejector) in ejectors.chain(signals) {
        let (what, key) = (what.as_str(), key.as_str());
        let Some(setting) = setting else { continue };
        if *setting == OutputConfig::None {
            tell(Finding::note(what, "none", "what it would do is only written down"));
            continue;
        }
        let found = open_output(config, key, setting, role).and_then(|mut output| {
            let round_trip = round_trip(&mut *output)?;
            tell(punctual(ejector.tolerance, what, setting, role, &round_trip));
            if fire && role == Role::Reject {
                tell(fired(what, &mut *output, ejector.dwell)?);
            }
            Ok(())
        });
        if let Err(error) = found {
            tell(Finding::failed(what, &error));
        }
    }
}

/// From the call to its end: until the kernel has the level or the message, or the device has answered.
fn round_trip(output: &mut dyn Output) -> Result<Spread> {
    let is_active = output.role().is_active_when_safe();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Monotonic::now();
        if is_active { output.hold() } else { output.release() }?;
        times.push(Monotonic::now().saturating_since(begun));
    }
    Ok(times.into_iter().collect())
}

fn punctual(tolerance: Duration, what: &str, setting: &OutputConfig, role: Role, round_trip: &Spread) -> Finding {
    let level = if role.is_active_when_safe() { "active" } else { "released" };
    let measured = format!("{setting}: {level}; told so again within {round_trip}");
    if role == Role::Reject && round_trip.max() > tolerance {
        let advice = format!(
            "a reject may be {} ms late at most (tolerance_ms): look at the network, or lengthen the pulse and tolerance_ms",
            ms(tolerance)
        );
        return Finding::problem(what, measured, advice);
    }
    match setting {
        OutputConfig::Serial(serial) if serial.ack.is_none() => Finding::note(
            what,
            measured,
            "nobody answers on this port, so nobody knows whether the device is there: --fire shows it (or set ack)",
        ),
        _ => Finding::ok(what, measured),
    }
}

fn fired(what: &str, output: &mut dyn Output, dwell: Duration) -> Result<Finding> {
    let begun = Monotonic::now();
    let result = output.activate(&Occasion::default());
    let took = Monotonic::now().saturating_since(begun);
    std::thread::sleep(dwell);
    // Also after a failure: part of a message, or a level, may have gone out.
    output.release()?;
    result?;
    let measured = format!("told to act within {} ms, and for {} ms", ms(took), ms(dwell));
    Ok(Finding::note(&what.replacen("ejector", "ejector fires", 1), measured, "only you can see whether it did"))
}

/// Asks every sensor for its level, and watches the encoder for `time`.
pub(super) fn inputs(config: &LineConfig, time: Duration, tell: &mut impl FnMut(Finding)) {
    let devices = &config.devices;
    let of_lanes = config.lanes.iter().flat_map(|lane| {
        let all = [("photo-eye", "photo_eye", &lane.photo_eye), ("chute sensor", "confirm", &lane.confirm)];
        all.map(|(what, section, setting)| (lane.thing(what), lane.key(section), section, setting))
    });
    let common = [("photo-eye", "photo_eye", &devices.photo_eye), ("bin switch", "bin", &devices.bin)];
    let common = common.map(|(what, section, setting)| (what.to_owned(), section.to_owned(), section, setting));
    for (what, key, section, setting) in common.into_iter().chain(of_lanes) {
        let Some(setting) = setting else { continue };
        match open_input(config, &key, setting).and_then(|mut input| input.level()) {
            Ok(is_active) => tell(level(&what, section, setting, is_active)),
            Err(error) => tell(Finding::failed(&what, &error)),
        }
    }
    if let Some(setting) = &devices.encoder {
        let counted = open_encoder(config, setting).and_then(|measure| {
            let (per_count, mut encoder) = (measure.per_count, measure.encoder);
            count(&mut *encoder, time).map(|count| moved(count, per_count, time))
        });
        tell(counted.unwrap_or_else(|error| Finding::failed("encoder", &error)));
    }
}

fn level(what: &str, section: &str, setting: &InputConfig, is_active: bool) -> Finding {
    let measured = format!("{setting}: {}", if is_active { "active" } else { "inactive" });
    match (section, is_active) {
        ("bin", true) => Finding::problem(what, measured, "the bin for rejected parts is full: empty it"),
        ("photo_eye", true) => Finding::note(what, measured, "something is before it now; if not, set active_low"),
        ("confirm", true) => Finding::note(what, measured, "something lies before it now; if not, set active_low"),
        _ => Finding::ok(what, measured),
    }
}

/// The last count within `time`; `None` where the belt stands.
fn count(encoder: &mut dyn Encoder, time: Duration) -> Result<Option<Count>> {
    let ends = Monotonic::now() + time;
    let mut last = None;
    while Monotonic::now() < ends {
        last = encoder.wait(LOOK)?.or(last);
    }
    Ok(last)
}

fn moved(count: Option<Count>, per_count: Length, time: Duration) -> Finding {
    let Some(count) = count.filter(|count| count.count != 0 || count.doubts.turns > 0) else {
        let advice = "the belt stands, or the encoder does not turn: check again while the belt moves";
        return Finding::note("encoder", format!("no count within {:.1} s", time.as_secs_f64()), advice);
    };
    let way = Length::from_nm(count.count.saturating_mul(per_count.as_nm()));
    let measured = format!(
        "{} counts: the belt moved {way} in {:.1} s ({:.0} mm/s)",
        count.count,
        time.as_secs_f64(),
        way.as_mm() / time.as_secs_f64()
    );
    let doubts = count.doubts;
    if doubts.gaps > 0 || doubts.noise > 0 {
        let measured = format!("{measured}; {} gaps, {} edges that do not fit", doubts.gaps, doubts.noise);
        return Finding::problem("encoder", measured, "shorten or shield its cable, or take a coarser resolution");
    }
    if count.count < 0 {
        return Finding::problem("encoder", measured, "it counts backwards: exchange the lines a and b");
    }
    Finding::ok("encoder", measured)
}
