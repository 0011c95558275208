//! The inspection's thread, and what stands behind it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::condition::Condition;
use super::conductor::Message;
use super::observer::Picture;
use super::slot::Slot;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::camera::Frame;
use crate::digest::Digest;
use crate::drift::{self, Drift};
use crate::inspect::{Inspection, Inspector, score};
use crate::line::{Device, Event, Evidence, Happening, Judgement, Latency};
use crate::picture::{self, Statistics};
use crate::time::Monotonic;
use crate::{Error, Result, panic_text};

/// What judges a frame.
pub trait Inspect: Send {
    /// What is wrong with the picture of a product `class`, whatever the part is like. It is asked before the part is judged.
    fn fault(&mut self, _frame: &Frame, _class: &str) -> Option<picture::Fault> {
        None
    }

    /// Judges `frame` as product `class`. An error, and a panic, is a fault of this part alone.
    fn inspect(&mut self, frame: &Frame, class: &str) -> Result<Judged>;

    /// What has changed in what was judged to be good, each change once.
    fn drift(&mut self) -> Vec<drift::Alarm> {
        Vec::new()
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The score against the calibration.
    pub judgement: Judgement,
    /// The anomaly map and where the time went.
    pub inspection: Inspection,
}

/// Judges with a bundle's network and one calibration per product.
pub struct ModelInspector {
    inspector: Inspector,
    /// All classes that the bundle knows.
    classes: Vec<String>,
    products: BTreeMap<String, Product>,
    /// What the last picture was like, and all of its pixels in one number.
    last: Option<(Statistics, u64)>,
    changes: Vec<drift::Alarm>,
}

struct Product {
    index: usize,
    calibration: Calibration,
    digest: Digest,
    /// None where the calibration does not tell how pictures are to be.
    drift: Option<Drift>,
}

impl ModelInspector {
    /// Loads the network and proves that this machine computes what the training host did.
    ///
    /// # Errors
    ///
    /// A calibration is not of this bundle or comes twice, the network cannot be loaded, or its golden frames come out
    /// different here.
    pub fn new(bundle: &Bundle, calibrations: Vec<(Calibration, Digest)>) -> Result<Self> {
        let mut products = BTreeMap::new();
        for (calibration, digest) in calibrations {
            calibration.check_bundle(bundle)?;
            let index = bundle.manifest.class_index(&calibration.class)?;
            let class = calibration.class.clone();
            if let Some(mask) = &calibration.reference.mask {
                log::info!(
                    "'{class}': {:.1}% of the picture is ignored, by the calibration's mask",
                    100.0 * mask.ignored_share()
                );
            }
            let drift = calibration.picture.map(|_| Drift::new(&calibration));
            if products.insert(class.clone(), Product { index, calibration, digest, drift }).is_some() {
                return Err(Error::usage(format!("two calibrations are of the class '{class}'"))
                    .advise("name one calibration per class"));
            }
        }
        let mut inspector = Inspector::new(bundle)?;
        let found = inspector.check_parity(bundle)?;
        log::info!(
            "parity: the golden frames differ by {:.1e} in z, {:.1e} in the log-determinant, {:.1e} in the score",
            found.z,
            found.logdet,
            found.score
        );
        Ok(ModelInspector {
            inspector,
            classes: bundle.manifest.classes.clone(),
            products,
            last: None,
            changes: Vec::new(),
        })
    }

    /// From how many of a calibration's parts the test for drift begins, for each class that is followed.
    pub fn drift_begins(&self) -> BTreeMap<String, u64> {
        let parts = |product: &Product| Some(product.drift.as_ref()?.begins_with() as u64);
        self.products.iter().filter_map(|(class, product)| Some((class.clone(), parts(product)?))).collect()
    }

    /// The calibration of every class.
    pub fn calibrations(&self) -> BTreeMap<String, Digest> {
        self.products.iter().map(|(class, product)| (class.clone(), product.digest)).collect()
    }
}

impl Inspect for ModelInspector {
    fn fault(&mut self, frame: &Frame, class: &str) -> Option<picture::Fault> {
        let calibration = &self.products.get(class)?.calibration;
        let limits = calibration.picture?;
        let statistics = Statistics::of(&frame.image, calibration.reference.mask.as_ref());
        let pixels = picture::fingerprint(&frame.image);
        let before = self.last.replace((statistics, pixels));
        // A live camera's noise never comes twice.
        let frozen = before.is_some_and(|(_, before)| before == pixels);
        limits.fault(&statistics).or(frozen.then_some(picture::Fault::Frozen))
    }

    fn drift(&mut self) -> Vec<drift::Alarm> {
        std::mem::take(&mut self.changes)
    }

    fn inspect(&mut self, frame: &Frame, class: &str) -> Result<Judged> {
        let known = self.products.keys().cloned().collect::<Vec<_>>();
        let product = self.products.get_mut(class).ok_or_else(|| {
            Error::usage(format!("there is no calibration of the class '{class}' (only of {})", known.join(", ")))
        })?;
        let calibration = &product.calibration;
        calibration.check_frame(frame.image.dimensions())?;
        let inspection = self.inspector.inspect(&frame.image, product.index, &calibration.reference)?;
        if let Some(other) = inspection.resembles {
            return Err(Error::check(format!("the part looks like '{}', not like '{class}'", self.classes[other])));
        }
        let judgement = Judgement {
            score: inspection.score,
            threshold: calibration.threshold,
            rejects: calibration.rejects(inspection.score),
            calibration: product.digest,
            evidence: Evidence { levels: inspection.levels.clone(), place: score::place(&inspection.map) },
        };
        if let (false, Some(drift)) = (judgement.rejects, &mut product.drift) {
            let picture = self.last.as_ref().map(|(statistics, _)| statistics);
            self.changes.extend(drift.accepted(&named(frame), judgement.score, picture));
        }
        Ok(Judged { judgement, inspection })
    }
}

/// A frame, for people.
fn named(frame: &Frame) -> String {
    format!("frame {} of {}", frame.number, frame.origin)
}

/// A frame on its way to the inspection.
pub(super) struct Waiting {
    pub(super) class: String,
    pub(super) frame: Frame,
}

/// Judges frames until the slot is closed.
pub(super) fn judge(mut inspector: Box<dyn Inspect>, slot: &Slot<Waiting>, messages: &SyncSender<Message>) {
    let mut pictures = Condition::of(Device::Picture);
    while let Some((ticket, Waiting { class, frame })) = slot.take() {
        let begun = Monotonic::now();
        let mut fault = None;
        let result = catch_unwind(AssertUnwindSafe(|| {
            fault = inspector.fault(&frame, &class);
            match fault {
                Some(fault) => Err(Error::device(fault.to_string())),
                None => inspector.inspect(&frame, &class),
            }
        }));
        let at = Monotonic::now();
        let health = fault.map_or(Ok(()), |fault| Err(format!("{}: {}", fault.kind(), fault.advice())));
        let changes = inspector.drift().into_iter().map(|change| Happening::Drift(change.to_string()));
        for what in pictures.follow(health).into_iter().chain(changes) {
            if messages.send(Message::Event(Event { at, what })).is_err() {
                return;
            }
        }
        let (outcome, inspection) = match result {
            Ok(Ok(judged)) => {
                let latency = latency(&frame, begun, at, &judged.inspection);
                (Ok((judged.judgement, latency)), Some(judged.inspection))
            }
            Ok(Err(error)) => (Err(error.line()), None),
            Err(panic) => (Err(format!("the inspection panicked: {}", panic_text(&*panic))), None),
        };
        let event = Event { at, what: Happening::Inspected(ticket, outcome) };
        let picture = Box::new(Picture { frame: Arc::new(frame), inspection });
        if messages.send(Message::Inspected { ticket, event, picture }).is_err() {
            return;
        }
    }
}

fn latency(frame: &Frame, begun: Monotonic, ended: Monotonic, inspection: &Inspection) -> Latency {
    let timings = inspection.timings;
    Latency {
        wait: begun.saturating_since(frame.captured),
        preprocess: timings.preprocess,
        network: timings.network,
        score: timings.score,
        total: ended.saturating_since(frame.captured),
    }
}
