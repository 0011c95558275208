//! The whole line with nothing at hand: an embedded model on a synthetic conveyor whose truth is known.
//!
//! Everything but the camera and the ejector is what `hgad run` uses: inspection, line core, runtime, audit.

mod gallery;
mod model;
mod tally;
mod view;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::{self, AuditLog, PartContext, RunStart};
use crate::camera::synthetic::SyntheticCamera;
use crate::config::AuditConfig;
use crate::line::Rules;
use crate::outputs::NoOutput;
use crate::print::counted;
use crate::runtime::{self, Finished, LaneView, ModelInspector, Pace, Sensors, Signals, Summary, Wiring};
use crate::synthetic::{Conveyor, Product};
use crate::{Error, Result};

use gallery::Gallery;
pub use model::bundle;
pub use tally::{Score, Tally};
use view::View;

/// The share of parts with a defect.
const DEFECT_SHARE: f64 = 0.1;
/// Parts per second at which a person can follow.
pub const FOLLOWABLE_RATE: f64 = 10.0;
const AUDIT: &str = "audit.jsonl";
const OVERLAYS: &str = "overlays";

/// What to show.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many parts pass.
    pub parts: u64,
    /// Which parts; the model was trained on none of them.
    pub seed: u64,
    /// Parts per second; `None` as many as can be inspected.
    pub rate: Option<f64>,
    /// The folder for the audit and the overlays.
    pub out: PathBuf,
}

/// What a demo came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Fates against the truth, per product.
    pub tally: Tally,
    /// The run itself.
    pub summary: Summary,
    /// Lines of the audit, all of which were checked.
    pub audit_lines: u64,
    /// The folder of overlays.
    pub overlays: PathBuf,
    /// How many overlays are in it.
    pub pictures: usize,
}

/// Runs the demo until all parts have passed or `stop` becomes true.
///
/// # Errors
///
/// The folder cannot be written, this machine computes other scores than the training host, or the audit does not verify.
pub fn run(request: &Request, stop: Arc<AtomicBool>) -> Result<Report> {
    let bundle = model::bundle()?;
    let inspector = ModelInspector::new(&bundle, model::calibrations()?)?;
    let overlays = request.out.join(OVERLAYS);
    prepare(&overlays)?;
    let conveyor = Conveyor { seed: request.seed, defect_share: DEFECT_SHARE };
    let show = Arc::new(Mutex::new(Show {
        conveyor,
        tally: Tally::default(),
        gallery: Gallery::new(overlays.clone()),
        view: View::new(request),
    }));
    let audit = AuditConfig::in_file(request.out.join(AUDIT));
    let start = RunStart {
        line: "synthetic conveyor".into(),
        dry_run: false,
        config: None,
        camera: format!("synthetic, seed {}", request.seed),
        output: "none".into(),
        bundle: bundle.digest,
        approvals: Vec::new(),
        drift: Default::default(),
        calibrations: inspector.calibrations(),
    };
    let wiring = Wiring {
        rules: rules(),
        views: vec![LaneView { region: None, gate: None, class: Product::ALL[0].name().to_owned() }],
        camera: Box::new(SyntheticCamera::new(conveyor, Some(request.parts), request.rate)),
        inspector: Box::new(inspector),
        outputs: vec![Box::new(NoOutput)],
        sensors: Sensors::default(),
        signals: Signals::default(),
        audit: AuditLog::open(&audit, &start)?,
        context: PartContext { bundle: bundle.digest, dry_run: false },
        // The rendered belt can wait: every part is inspected, however slow the machine is.
        pace: Pace::EveryFrame,
        max_parts: None,
        stop,
        journal: false,
        observer: Some({
            let show = show.clone();
            Box::new(move |finished| show.lock().unwrap_or_else(PoisonError::into_inner).part(&finished))
        }),
        realtime: false,
    };
    let summary = runtime::run(wiring)?;
    let mut show = show.lock().unwrap_or_else(PoisonError::into_inner);
    let tally = show.tally.clone();
    show.view.finish(&tally);
    let pictures = show.gallery.close()?;
    let audit_lines = audit::verify(&summary.audit, &audit::Trust::default())?.lines;
    Ok(Report { tally, summary, audit_lines, overlays, pictures })
}

/// A second from the camera to the ejector.
fn rules() -> Rules {
    Rules::timed(Duration::from_secs(1), Duration::from_millis(20), Duration::from_millis(500))
}

/// Makes the folder and takes an earlier demo's overlays away.
fn prepare(overlays: &Path) -> Result<()> {
    let failed = |error| {
        Error::device(format!("folder {} cannot be written", overlays.display()))
            .because(error)
            .advise("name a folder that you may write with --out")
    };
    std::fs::create_dir_all(overlays).map_err(failed)?;
    for entry in std::fs::read_dir(overlays).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if gallery::is_overlay(&path) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    // A folder that stands already may still be read-only.
    tempfile::tempfile_in(overlays).map(drop).map_err(failed)
}

/// What looks at finished parts.
struct Show {
    conveyor: Conveyor,
    tally: Tally,
    gallery: Gallery,
    view: View,
}

impl Show {
    fn part(&mut self, finished: &Finished) {
        // Every part of the rendered belt is a frame.
        let Some(frame) = finished.record.frame else { return };
        let truth = self.conveyor.truth(frame);
        let outcome = self.tally.add(truth, &finished.record.fate);
        self.gallery.keep(finished, truth, outcome);
        self.view.part(finished, truth, outcome, &self.tally);
    }
}

impl Report {
    /// The report as a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let Score { parts, defective, rejected, false_rejects, missed } = self.tally.total();
        let latency = self.summary.latency_ms;
        let seconds = self.summary.took.as_secs_f64();
        serde_json::json!({
            "parts": parts,
            "defective": defective,
            "rejected": rejected,
            "false_rejects": false_rejects,
            "missed": missed,
            "p50_ms": latency.p50,
            "p99_ms": latency.p99,
            "seconds": seconds,
            "audit": self.summary.audit.display().to_string(),
            "audit_lines": self.audit_lines,
            "overlays": self.overlays.display().to_string(),
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.tally)?;
        let seconds = self.summary.took.as_secs_f64();
        writeln!(f, "verdict    {} after the capture", self.summary.latency_ms)?;
        writeln!(f, "belt       {:.1} parts/s for {seconds:.1} s", self.tally.total().parts as f64 / seconds)?;
        if self.summary.counters.unaccounted > 0 {
            writeln!(
                f,
                "warning    {} came too late for the ejector",
                counted(self.summary.counters.unaccounted, "part")
            )?;
        }
        writeln!(
            f,
            "audit      {}: {}, chain verified",
            self.summary.audit.display(),
            counted(self.audit_lines, "line")
        )?;
        write!(f, "overlays   {}: {}, misses first", self.overlays.display(), counted(self.pictures as u64, "picture"))
    }
}
