//! The threads of sensors: each waits for its device, and tells the core what it saw and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::condition::Condition;
use super::conductor::Message;
use super::stage::{Stage, outcome};
use super::{Measure, Sensors};
use crate::Result;
use crate::health::Health;
use crate::inputs::encoder::Doubts;
use crate::inputs::{Edge, Input, Sense};
use crate::line::{Device, Event, Happening, Lane, Length, Rules};
use crate::time::Monotonic;

/// How long one look at a device may take: a thread notices the end of the run that late.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often a device that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A sensor's thread, as the conductor sees it.
pub(super) struct Sensor {
    device: Device,
    stage: Stage,
    health: Arc<Health>,
    condition: Condition,
}

/// What a thread needs to tell the core.
struct Teller {
    messages: SyncSender<Message>,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
}

impl Teller {
    /// Whether anybody listens still.
    fn tell(&self, at: Monotonic, what: Happening) -> bool {
        self.messages.send(Message::Event(Event { at, what })).is_ok()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &crate::Error) {
        if self.health.failed(error.line()) {
            log::error!("{}", error.report());
        }
        std::thread::sleep(RETRY);
    }
}

/// Starts a thread for each sensor that the line has.
///
/// # Errors
///
/// The system gives no thread.
pub(super) fn start(
    sensors: Sensors,
    rules: &Rules,
    messages: &SyncSender<Message>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Sensor>> {
    let mut started = Vec::new();
    let mut begin = |device: Device, name, work: Box<dyn FnOnce(&Teller) + Send>| -> Result<()> {
        let health = Arc::new(Health::default());
        let teller = Teller { messages: messages.clone(), stop: stop.clone(), health: health.clone() };
        let stage = Stage::start(name, move || {
            if let Err(why) = outcome(|| work(&teller)) {
                teller.health.failed(format!("its thread panicked: {why}"));
            }
        })?;
        started.push(Sensor { device, stage, health, condition: Condition::of(device) });
        Ok(())
    };
    // The belt first: where it is must be known before a part is seen.
    if let Some(measure) = sensors.encoder {
        begin(Device::Encoder, "encoder", Box::new(move |teller| follow(measure, teller)))?;
    }
    for (owner, eye) in sensors.photo_eyes {
        let what = move |is_dark| Happening::Eye(owner, is_dark);
        let work = move |teller: &Teller| watch_level(eye, teller, what, |is_dark| found(owner, is_dark));
        begin(Device::PhotoEye(owner), "photo-eye", Box::new(work))?;
    }
    for (lane, confirm) in sensors.confirms {
        let what = move |_| Happening::Confirmed(lane);
        begin(Device::ConfirmSensor(rules.own(lane)), "confirm", Box::new(move |teller| watch(confirm, teller, what)))?;
    }
    if let Some(bin) = sensors.bin {
        let work = move |teller: &Teller| watch_level(bin, teller, Happening::Bin, Happening::Bin);
        begin(Device::BinSensor, "bin", Box::new(work))?;
    }
    Ok(started)
}

impl Sensor {
    /// How it does, if that is new.
    pub(super) fn news(&mut self, now: Monotonic) -> Option<Happening> {
        self.condition.follow(self.health.look(now))
    }

    /// Waits for the end of its thread.
    pub(super) fn leave(self) {
        self.stage.leave(&format!("the {}'s driver does not come back", self.device));
    }
}

/// Tells each edge.
fn watch(mut input: Box<dyn Input>, teller: &Teller, what: impl Fn(bool) -> Happening) {
    while teller.goes_on() {
        let is_heard = match teller.health.watch(|| input.wait(PATIENCE)) {
            Ok(sense) => heard(sense, teller, &what),
            Err(error) => {
                teller.failed(&error);
                true
            }
        };
        if !is_heard {
            return;
        }
    }
}

/// Tells what an input said; whether anybody listens still.
fn heard(sense: Sense, teller: &Teller, what: &impl Fn(bool) -> Happening) -> bool {
    match sense {
        Sense::Edge(edge) => {
            teller.health.works();
            teller.tell(edge.at, what(edge.active))
        }
        Sense::Nothing => {
            teller.health.works();
            true
        }
        Sense::Lost(edges) => {
            teller.health.failed(format!("{edges} edges came faster than they were read, and are lost"));
            true
        }
    }
}

/// What is told of a photo-eye of which nobody saw how it became dark, or light.
fn found(owner: Option<Lane>, is_dark: bool) -> Happening {
    if is_dark { Happening::FoundDark(owner) } else { Happening::Eye(owner, false) }
}

/// Tells each edge of a sensor whose level matters for as long as it lasts. A level that changed unseen, before the run, while its
/// device was away or its edges were lost, is told when that is over: it is that since then, as far as anybody knows. So an eye that
/// is dark when the run starts, as a blocked one is, and a bin that is full already, which show no edge: such a level is `found`. One that is
/// active as before is told too: behind edges that were lost an eye may be dark with another part.
fn watch_level(
    mut input: Box<dyn Input>,
    teller: &Teller,
    what: impl Fn(bool) -> Happening,
    found: impl Fn(bool) -> Happening,
) {
    let (mut told, mut is_doubted, mut is_found) = (false, true, false);
    while teller.goes_on() {
        let sensed = teller.health.watch(|| {
            let sense = input.wait(PATIENCE)?;
            let asks = is_doubted && sense == Sense::Nothing;
            Ok((sense, asks.then(|| input.level()).transpose()?))
        });
        let is_heard = match sensed {
            Ok((sense, level)) => {
                is_doubted = matches!(sense, Sense::Lost(_));
                let edge = level.filter(|level| *level || told).map(|active| Edge { at: Monotonic::now(), active });
                // A driver may have the edge of what was found still: where it waits until a level stands, or asks now and then.
                let is_late = is_found && matches!(&sense, Sense::Edge(edge) if edge.active == told);
                is_found = edge.is_some() || is_found && sense == Sense::Nothing;
                let what: &dyn Fn(bool) -> Happening = if edge.is_some() { &found } else { &what };
                let sense = if is_late { Sense::Nothing } else { edge.map_or(sense, Sense::Edge) };
                if let Sense::Edge(edge) = sense {
                    told = edge.active;
                }
                heard(sense, teller, &what)
            }
            Err(error) => {
                is_doubted = true;
                teller.failed(&error);
                true
            }
        };
        if !is_heard {
            return;
        }
    }
}

/// Tells where the belt is.
fn follow(measure: Measure, teller: &Teller) {
    let Measure { mut encoder, per_count } = measure;
    let place = |count: i64| Length::from_nm(count.saturating_mul(per_count.as_nm()));
    let mut doubts = Doubts::default();
    if !teller.tell(Monotonic::now(), Happening::Moved(place(0))) {
        return;
    }
    while teller.goes_on() {
        let is_heard = match teller.health.watch(|| encoder.wait(PATIENCE)) {
            Ok(None) => {
                teller.health.works();
                true
            }
            Ok(Some(count)) => {
                let new = std::mem::replace(&mut doubts, count.doubts);
                if count.doubts.noise > new.noise {
                    log::debug!("encoder: {} edges did not fit", count.doubts.noise - new.noise);
                }
                if count.doubts.gaps > new.gaps {
                    teller.health.failed("the belt moved on unseen: a stretch of it was not counted".into());
                } else {
                    teller.health.works();
                }
                teller.tell(count.at, Happening::Moved(place(count.count)))
            }
            Err(error) => {
                teller.failed(&error);
                true
            }
        };
        if !is_heard {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::Error;

    /// An input that says what it is told to, and then ends the run.
    struct Scripted {
        says: std::vec::IntoIter<Result<Sense>>,
        level: bool,
        stop: Arc<AtomicBool>,
    }

    impl Input for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn wait(&mut self, _: Duration) -> Result<Sense> {
            self.says.next().unwrap_or_else(|| {
                self.stop.store(true, Ordering::Relaxed);
                Ok(Sense::Nothing)
            })
        }

        fn level(&mut self) -> Result<bool> {
            Ok(self.level)
        }
    }

    /// What is told of a sensor that was inactive at first and is at `level` when it is asked: of an edge `what`, else `found`.
    fn told_as(
        says: Vec<Result<Sense>>,
        level: bool,
        what: impl Fn(bool) -> Happening,
        found: impl Fn(bool) -> Happening,
    ) -> Vec<Happening> {
        let (messages, heard) = sync_channel(16);
        let stop = Arc::new(AtomicBool::new(false));
        let teller = Teller { messages, stop: stop.clone(), health: Arc::default() };
        let input = Scripted { says: says.into_iter(), level, stop };
        watch_level(Box::new(input), &teller, what, found);
        drop(teller);
        let what = |message| match message {
            Message::Event(event) => event.what,
            _ => panic!("something else was told"),
        };
        heard.iter().map(what).collect()
    }

    /// The levels that are told.
    fn told(says: Vec<Result<Sense>>, level: bool) -> Vec<bool> {
        let level_of = |what| match what {
            Happening::Bin(level) => level,
            _ => panic!("something else was told"),
        };
        told_as(says, level, Happening::Bin, Happening::Bin).into_iter().map(level_of).collect()
    }

    #[test]
    fn an_eye_that_nobody_saw_become_dark_is_found_dark() {
        let told = |says, level| told_as(says, level, |is_dark| Happening::Eye(None, is_dark), |is| found(None, is));
        let edge = |active| Ok(Sense::Edge(Edge { at: Monotonic::now(), active }));
        let [dark, light] = [true, false].map(|is_dark| Happening::Eye(None, is_dark));
        let found = Happening::FoundDark(None);
        assert_eq!(
            told(vec![Ok(Sense::Nothing), edge(false), edge(true)], true),
            [found.clone(), light.clone(), dark.clone()]
        );
        let lost = || vec![edge(true), Ok(Sense::Lost(2)), Ok(Sense::Nothing)];
        assert_eq!(told(lost(), false), [dark.clone(), light]);
        assert_eq!(told(lost(), true), [dark, found.clone()], "that may be the next part");
        // Its edge comes late, and is the same one.
        assert_eq!(told(vec![Ok(Sense::Nothing), Ok(Sense::Nothing), edge(true)], true), [found]);
    }

    #[test]
    fn a_level_that_changed_while_its_device_was_away_is_told_when_it_is_back() {
        let edge = |active| Ok(Sense::Edge(Edge { at: Monotonic::now(), active }));
        let gone = || Err(Error::device("unplugged"));
        assert_eq!(told(vec![edge(true), gone(), Ok(Sense::Nothing)], false), [true, false]);
        assert_eq!(
            told(vec![edge(true), gone(), gone(), Ok(Sense::Nothing)], true),
            [true, true],
            "as it was, or active anew"
        );
        assert_eq!(told(vec![Ok(Sense::Lost(3)), Ok(Sense::Nothing)], true), [true]);
        assert_eq!(told(vec![gone(), edge(true), edge(false)], false), [true, false], "an edge says it itself");
        assert_eq!(told(vec![Ok(Sense::Nothing)], true), [true], "as it was when the run began");
        assert_eq!(told(vec![edge(true), edge(false), Ok(Sense::Nothing)], true), [true, false], "edges say it");
    }
}
