//! Why a model is as it is: one run, or several beside each other, on a page that needs nothing else.
//!
//! Losses and likelihoods come from what training keeps beside a bundle ([`History`]); all else is measured of the bundle itself. Test
//! images are looked at here, and nowhere in training.

mod anomalous;
mod centers;
mod judged;
mod latents;
mod page;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hgad::bundle::Bundle;
use hgad::{Error, Result};

use crate::fit::History;
use anomalous::Anomalous;
use judged::Judged;
use latents::Seen;

/// What a page is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The runs' bundles, or where they will stand when training is over.
    pub runs: &'a [PathBuf],
    /// The folder with images of good and of defective parts.
    pub test: Option<&'a Path>,
    /// The folder that the models were trained from; without it, that of `test`.
    pub images: Option<&'a Path>,
    /// The classifier's file, where it is no longer where training found it.
    pub backbone: Option<&'a Path>,
    /// The folder that keeps features.
    pub cache: &'a Path,
    /// Every how many-th normal image was left out of training, where a bundle does not tell.
    pub hold_out: Option<usize>,
    /// The false-reject rate that thresholds are calibrated for.
    pub frr: f64,
    /// Raised when the user wants to stop.
    pub stop: &'a AtomicBool,
}

/// What is known, or why it is not.
type Known<T> = std::result::Result<T, String>;

/// A run, as far as it is known.
struct Run {
    name: String,
    bundle: Known<Bundle>,
    history: Known<History>,
    anomalous: Known<Anomalous>,
    judged: Known<Vec<Judged>>,
    seen: Known<Seen>,
}

const NO_TEST: &str = "it needs images of good and of defective parts: give them with --test DIR";

/// Makes the page.
///
/// # Errors
///
/// A run of which there is neither a bundle nor a history, or one of other products than the first (usage errors); images, a bundle or
/// a classifier that cannot be read.
pub fn page(request: &Request) -> Result<String> {
    let mut runs = request.runs.iter().map(|folder| Run::gather(folder, request)).collect::<Result<Vec<_>>>()?;
    tell_apart(&mut runs, request.runs);
    for run in &runs[1..] {
        if run.classes() != runs[0].classes() {
            return Err(Error::usage(format!("{} is of other products than {}", run.name, runs[0].name))
                .because(format!("{} instead of {}", run.classes().join(", "), runs[0].classes().join(", "))));
        }
    }
    Ok(page::page(&runs))
}

/// Names those by their paths that would have one name.
fn tell_apart(runs: &mut [Run], folders: &[PathBuf]) {
    let names = runs.iter().map(|run| run.name.clone()).collect::<Vec<_>>();
    for (run, folder) in runs.iter_mut().zip(folders) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = folder.display().to_string();
        }
    }
}

impl Run {
    fn gather(folder: &Path, request: &Request) -> Result<Self> {
        // `.` has no name of its own.
        let whole = folder.file_name().is_none().then(|| folder.canonicalize().ok()).flatten();
        let folder = whole.as_deref().unwrap_or(folder);
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let bundle = match folder.exists() {
            true => Bundle::open(folder).map_err(|error| why(&error)),
            false => Err(format!("there is no bundle {}: its training is not over, or was moved", folder.display())),
        };
        let (place, history) = history_of(folder, &bundle);
        if let (Err(no_bundle), Err(no_history)) = (&bundle, &history) {
            return Err(Error::usage(no_bundle.clone())
                .because(no_history.clone())
                .advise("name a folder that hgad-train train wrote (--out)"));
        }
        let unmeasured = || bundle.as_ref().map_or_else(|why| Err(why.clone()), Ok);
        let with_test = || request.test.ok_or_else(|| NO_TEST.to_owned());
        let anomalous = match (&history, with_test()) {
            (Err(why), _) => Err(why.clone()),
            (_, Err(why)) => Err(why),
            (Ok(history), Ok(test)) => anomalous::measure(history, &place, test, request)?,
        };
        let (judged, seen) = match (unmeasured(), with_test()) {
            (Err(why), _) | (_, Err(why)) => (Err(why.clone()), Err(why)),
            (Ok(bundle), Ok(test)) => {
                log::info!("judging the test images with {}", folder.display());
                (Ok(judged::judge(bundle, test, request)?), Ok(latents::see(bundle, test)?))
            }
        };
        Ok(Run { name, bundle, history, anomalous, judged, seen })
    }

    fn classes(&self) -> &[String] {
        match (&self.bundle, &self.history) {
            (Ok(bundle), _) => &bundle.manifest.classes,
            (_, Ok(history)) => &history.about.classes,
            _ => &[],
        }
    }
}

/// What went wrong, in one line.
fn why(error: &Error) -> String {
    error.report().replace("\n  because: ", ": ").replace("\n  try: ", "; try: ")
}

/// The history of a run and where it lies: beside the bundle, or, of one that is in training or whose end was cut off, still its draft.
fn history_of(folder: &Path, bundle: &Known<Bundle>) -> (PathBuf, Known<History>) {
    let (kept, draft) = (History::path_for(folder), History::draft_for(folder));
    let of =
        |place: &Path| History::read(place).map_err(|error| why(&error)).and_then(|read| told(read, bundle, place));
    let (of_kept, of_draft) = (of(&kept), of(&draft));
    match (of_kept, of_draft) {
        (of_kept, Ok(history)) if bundle.is_err() || of_kept.is_err() => (draft, Ok(history)),
        (of_kept, _) => (kept, of_kept),
    }
}

/// The history, if it is that of the bundle.
fn told(history: Option<History>, bundle: &Known<Bundle>, place: &Path) -> Known<History> {
    let history = history.ok_or_else(|| {
        format!(
            "there is no {}: the run is older than such histories, its method has no training that could be told of, or the folder was not \
             copied with the bundle",
            place.display()
        )
    })?;
    let of_bundle =
        |bundle: &Bundle| bundle.manifest.training.get("run").and_then(|run| run.as_str()).map(str::to_owned);
    match bundle.as_ref().ok().map(of_bundle) {
        Some(run) if run != Some(history.run.to_string()) => {
            Err(format!("{} is of another run than the bundle: it may be in training again", place.display()))
        }
        _ => Ok(history),
    }
}
