//! The inspection's thread, and what stands behind it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::conductor::Message;
use super::observer::Picture;
use super::slot::Slot;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::camera::Frame;
use crate::digest::Digest;
use crate::inspect::{Inspection, Inspector, score};
use crate::line::{Event, Evidence, Happening, Judgement, Latency};
use crate::time::Monotonic;
use crate::{Error, Result, panic_text};

/// What judges a frame.
pub trait Inspect: Send {
    /// Judges `frame` as product `class`. An error, and a panic, is a fault of this part alone.
    fn inspect(&mut self, frame: &Frame, class: &str) -> Result<Judged>;
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
}

struct Product {
    index: usize,
    calibration: Calibration,
    digest: Digest,
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
            if products.insert(class.clone(), Product { index, calibration, digest }).is_some() {
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
        Ok(ModelInspector { inspector, classes: bundle.manifest.classes.clone(), products })
    }

    /// The calibration of every class.
    pub fn calibrations(&self) -> BTreeMap<String, Digest> {
        self.products.iter().map(|(class, product)| (class.clone(), product.digest)).collect()
    }
}

impl Inspect for ModelInspector {
    fn inspect(&mut self, frame: &Frame, class: &str) -> Result<Judged> {
        let product = self.products.get(class).ok_or_else(|| {
            let known = self.products.keys().cloned().collect::<Vec<_>>().join(", ");
            Error::usage(format!("there is no calibration of the class '{class}' (only of {known})"))
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
        Ok(Judged { judgement, inspection })
    }
}

/// A frame on its way to the inspection.
pub(super) struct Waiting {
    pub(super) class: String,
    pub(super) frame: Frame,
}

/// Judges frames until the slot is closed.
pub(super) fn judge(mut inspector: Box<dyn Inspect>, slot: &Slot<Waiting>, messages: &SyncSender<Message>) {
    while let Some((ticket, Waiting { class, frame })) = slot.take() {
        let begun = Monotonic::now();
        let result = catch_unwind(AssertUnwindSafe(|| inspector.inspect(&frame, &class)));
        let at = Monotonic::now();
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
