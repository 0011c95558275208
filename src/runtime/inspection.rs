//! The inspection's thread, and what stands behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::condition::Condition;
use super::conductor::Message;
use super::lately::Lately;
use super::observer::Picture;
use super::slot::Slot;
use crate::audit::in_lane;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::camera::Frame;
use crate::digest::Digest;
use crate::drift::{self, Drift};
use crate::health::Health;
use crate::inspect::{Inspection, Inspector, score};
use crate::line::{Device, Event, Evidence, Happening, Judgement, Lane, Latency, PictureFault, Ticket, Uninspected};
use crate::picture::{self, Statistics};
use crate::time::Monotonic;
use crate::{Error, Result, panic_text};

/// What judges a frame.
pub trait Inspect: Send {
    /// What is wrong with a lane's picture of a product `class`, whatever the part is like. It is asked before the part is judged.
    fn fault(&mut self, _frame: &Frame, _lane: Lane, _class: &str) -> Option<PictureFault> {
        None
    }

    /// Judges `frame`, which a lane saw, as product `class`. An error, and a panic, is a fault of this part alone.
    /// `ticket` names the frame in what is told of it later.
    fn inspect(&mut self, ticket: Ticket, frame: &Frame, lane: Lane, class: &str) -> Result<Judged>;

    /// What has changed in what was judged to be good, each change once.
    fn drift(&mut self) -> Vec<Change> {
        Vec::new()
    }

    /// The frames by which changes would be shown that may be found later, a few of each class and lane.
    fn examples(&self) -> BTreeSet<Ticket> {
        BTreeSet::new()
    }
}

/// What has changed in accepted parts.
#[derive(Debug, Clone)]
pub struct Change {
    /// The product.
    pub class: String,
    /// The lane's name, on a belt with lanes.
    pub lane: Option<String>,
    /// Of what, and which parts show it.
    pub what: drift::Alarm,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The score against the calibration.
    pub judgement: Judgement,
    /// The anomaly map and where the time went.
    pub inspection: Inspection,
}

/// Judges with a bundle's network and one calibration per lane and product.
pub struct ModelInspector {
    inspector: Inspector,
    /// All classes that the bundle knows.
    classes: Vec<String>,
    lanes: Vec<LaneInspector>,
    changes: Vec<Change>,
    /// Whether pictures come from a live camera, which never sends one twice.
    is_live: bool,
}

/// What a lane's parts are judged by. Each lane has its light and its place before the lens, and is followed for itself.
struct LaneInspector {
    /// The lane's name, on a belt with lanes.
    name: Option<String>,
    products: BTreeMap<String, Product>,
    /// What the last picture was like.
    last: Option<Statistics>,
    /// Which pictures came.
    lately: Lately,
}

/// A lane's calibrations: one per product.
pub(crate) struct LaneCalibrations {
    /// The lane's name, on a belt with lanes.
    pub(crate) name: Option<String>,
    /// Those that are for every lane, and the lane's own, which come before them.
    pub(crate) common: Vec<(Calibration, Digest)>,
    pub(crate) own: Vec<(Calibration, Digest)>,
}

struct Product {
    index: usize,
    calibration: Calibration,
    digest: Digest,
    /// Whether it is the lane's alone.
    is_own: bool,
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
        Self::with_lanes(bundle, vec![LaneCalibrations { name: None, common: calibrations, own: Vec::new() }], 1)
    }

    /// The same for the lanes of a belt in their order, of which each may have calibrations of its own. `threads` share each frame.
    ///
    /// # Errors
    ///
    /// As [`ModelInspector::new`].
    pub(crate) fn with_lanes(bundle: &Bundle, lanes: Vec<LaneCalibrations>, threads: usize) -> Result<Self> {
        let lanes = lanes.into_iter().map(|lane| LaneInspector::new(bundle, lane)).collect::<Result<Vec<_>>>()?;
        let mut inspector = Inspector::with_threads(bundle, threads)?;
        let found = inspector.check_parity(bundle)?;
        log::info!(
            "parity: the golden frames differ by {:.1e} in z, {:.1e} in the log-determinant, {:.1e} in the score",
            found.z,
            found.logdet,
            found.score
        );
        let classes = bundle.manifest.classes.clone();
        Ok(ModelInspector { inspector, classes, lanes, changes: Vec::new(), is_live: false })
    }

    /// Whether pictures will come from a live camera ([`Camera::is_live`](crate::camera::Camera::is_live)); else they are files or drawings.
    pub fn expect(&mut self, is_live: bool) {
        self.is_live = is_live;
        self.lanes.iter_mut().for_each(|lane| lane.lately = Lately::of(is_live));
    }

    /// From how many of a calibration's parts the test for drift begins, for each class that is followed; named as in
    /// [`ModelInspector::calibrations`].
    pub fn drift_begins(&self) -> BTreeMap<String, u64> {
        let begins = |product: &Product| Some(product.drift.as_ref()?.begins_with() as u64);
        self.named().filter_map(|(name, product)| Some((name, begins(product)?))).collect()
    }

    /// The calibration of every class; a lane's own one as that of `CLASS in lane NAME`.
    pub fn calibrations(&self) -> BTreeMap<String, Digest> {
        self.named().map(|(name, product)| (name, product.digest)).collect()
    }

    /// What is not promised of thresholds, in words: of each class whose parts cannot set the rate that was asked for.
    pub(crate) fn unkept_rates(&self) -> Vec<String> {
        self.doubts(Calibration::unkept_rate)
    }

    /// Thresholds that are not what their files' scores give, in words.
    pub(crate) fn foreign_thresholds(&self) -> Vec<String> {
        self.doubts(Calibration::foreign_threshold)
    }

    /// Calibrations on images that are less like the model's normal parts than those of another day are, in words.
    pub(crate) fn unlike_training(&self) -> Vec<String> {
        self.doubts(Calibration::unlike_training)
    }

    /// What is doubted of calibrations, each once, with its class.
    fn doubts(&self, doubt: impl Fn(&Calibration) -> Option<String>) -> Vec<String> {
        let told = |(name, product): (String, &Product)| Some(format!("'{name}': {}", doubt(&product.calibration)?));
        self.named().filter_map(told).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the calibration of a lane's class says how pictures are to be: light, focus, colour.
    pub(crate) fn knows_pictures(&self, lane: Lane, class: &str) -> bool {
        self.lanes[lane.0].products.get(class).is_some_and(|product| product.calibration.picture.is_some())
    }

    /// Every lane's products. Those that share a calibration share its name.
    fn named(&self) -> impl Iterator<Item = (String, &Product)> {
        let all = self.lanes.iter().flat_map(|lane| lane.products.iter().map(move |product| (lane, product)));
        all.map(|(lane, (class, product))| match &lane.name {
            Some(lane) if product.is_own => (format!("{class}{}", in_lane(lane)), product),
            _ => (class.clone(), product),
        })
    }
}

impl LaneInspector {
    fn new(bundle: &Bundle, lane: LaneCalibrations) -> Result<Self> {
        let mut products = BTreeMap::new();
        let LaneCalibrations { name, common, own } = lane;
        for (is_own, calibrations) in [(false, common), (true, own)] {
            let mut classes = BTreeSet::new();
            for (calibration, digest) in calibrations {
                calibration.check_bundle(bundle)?;
                let (class, index) = (calibration.class.clone(), bundle.manifest.class_index(&calibration.class)?);
                if !classes.insert(class.clone()) {
                    return Err(Error::usage(format!("two calibrations are of the class '{class}'"))
                        .advise("name one calibration per class"));
                }
                if let Some(mask) = &calibration.reference.mask {
                    let share = 100.0 * mask.ignored_share();
                    log::info!("'{class}': {share:.1}% of the picture is ignored, by the calibration's mask");
                }
                if let Some(from) = calibration.audit.as_ref().and_then(|audit| audit.lane.as_ref())
                    && name.as_ref() != Some(from)
                {
                    let here = name.as_ref().map_or_else(|| "all".to_owned(), |name| format!("those of lane '{name}'"));
                    log::warn!("'{class}': the calibration is of parts of lane '{from}', and {here} are judged by it");
                }
                let drift = calibration.picture.map(|_| Drift::new(&calibration));
                if !drift.as_ref().is_some_and(Drift::follows) {
                    log::warn!("'{class}': drift is not followed, since the calibration tells too little of its parts");
                }
                products.insert(class, Product { index, calibration, digest, is_own, drift });
            }
        }
        Ok(LaneInspector { name, products, last: None, lately: Lately::of(false) })
    }
}

impl Inspect for ModelInspector {
    fn fault(&mut self, frame: &Frame, lane: Lane, class: &str) -> Option<PictureFault> {
        let lane = &mut self.lanes[lane.0];
        let came = lane.lately.came(picture::fingerprint(&frame.image));
        let frozen = came.then_some(picture::Fault::Frozen);
        let product = lane.products.get(class);
        let known = product.and_then(|Product { calibration, digest, .. }| {
            Some((calibration.picture?, calibration.reference.mask.as_ref(), *digest))
        });
        let Some((limits, mask, digest)) = known else {
            // A camera that sends old pictures is at fault whatever is known of new ones.
            let fault = frozen.filter(|_| self.is_live)?;
            return Some(PictureFault { fault, statistics: Statistics::of(&frame.image, None), calibration: None });
        };
        let statistics = Statistics::of(&frame.image, mask);
        lane.last = Some(statistics);
        let fault = limits.fault(&statistics).or(frozen)?;
        Some(PictureFault { fault, statistics, calibration: Some(digest) })
    }

    fn drift(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn examples(&self) -> BTreeSet<Ticket> {
        let products = self.lanes.iter().flat_map(|lane| lane.products.values());
        products.filter_map(|product| product.drift.as_ref()).flat_map(Drift::examples).collect()
    }

    fn inspect(&mut self, ticket: Ticket, frame: &Frame, lane: Lane, class: &str) -> Result<Judged> {
        let lane = &mut self.lanes[lane.0];
        let known = lane.products.keys().cloned().collect::<Vec<_>>();
        let product = lane.products.get_mut(class).ok_or_else(|| {
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
            let changes = drift.accepted(ticket, judgement.score, lane.last.as_ref()).into_iter();
            let change = |what| Change { class: class.to_owned(), lane: lane.name.clone(), what };
            self.changes.extend(changes.map(change));
        }
        Ok(Judged { judgement, inspection })
    }
}

/// A frame on its way to the inspection.
pub(super) struct Waiting {
    pub(super) class: String,
    pub(super) frame: Frame,
}

/// Judges frames until the slot is closed. `health` tells of an inspection that does not come back. `lanes` are as devices of theirs are told: `None` for a belt without lanes.
pub(super) fn judge(
    mut inspector: Box<dyn Inspect>,
    health: &Health,
    lanes: &[Option<Lane>],
    slot: &Slot<Waiting>,
    messages: &SyncSender<Message>,
) {
    let mut pictures = lanes.iter().map(|lane| Condition::of(Device::Picture(*lane))).collect::<Vec<_>>();
    let mut examples = BTreeSet::new();
    while let Some((ticket, lane, Waiting { class, frame })) = slot.take() {
        let begun = Monotonic::now();
        let mut fault = None;
        let judged = || {
            fault = inspector.fault(&frame, lane, &class);
            match fault {
                Some(PictureFault { fault, .. }) => Err(Error::device(fault.to_string())),
                None => inspector.inspect(ticket, &frame, lane, &class),
            }
        };
        let result = health.watch(|| catch_unwind(AssertUnwindSafe(judged)));
        let at = Monotonic::now();
        let health =
            fault.map_or(Ok(()), |PictureFault { fault, .. }| Err(format!("{}: {}", fault.kind(), fault.advice())));
        if let Some(what) = pictures[lane.0].follow(health)
            && messages.send(Message::Event(Event { at, what })).is_err()
        {
            return;
        }
        let changes = inspector.drift();
        // What a change names is held back until the change itself has been told.
        let mut newest = inspector.examples();
        newest.extend(changes.iter().flat_map(|change| &change.what.parts).map(|(ticket, _)| *ticket));
        if newest != examples && messages.send(Message::Examples(newest.clone())).is_err() {
            return;
        }
        examples = newest;
        let (outcome, inspection) = match result {
            Ok(Ok(judged)) => {
                let latency = latency(&frame, begun, at, &judged.inspection);
                (Ok((judged.judgement, latency)), Some(judged.inspection))
            }
            Ok(Err(error)) => (Err(Uninspected { why: error.line(), picture: fault }), None),
            Err(panic) => (Err(format!("the inspection panicked: {}", panic_text(&*panic)).into()), None),
        };
        let event = Event { at, what: Happening::Inspected(ticket, outcome) };
        let picture = Box::new(Picture { frame: Arc::new(frame), inspection });
        let told = std::iter::once(Message::Inspected { ticket, event, picture });
        // After its own part, whose picture may be one of those that show it.
        let told = told.chain(changes.into_iter().map(|change| Message::Drift(at, Box::new(change))));
        for message in told {
            if messages.send(message).is_err() {
                return;
            }
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
