//! Many images at once, on all cores: what calibration and evaluation are made of.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use image::RgbImage;

use super::Inspector;
use crate::bundle::Bundle;
use crate::progress::Progress;
use crate::{Error, Result, dataset, panic_text};

/// Reads every image once and hands it to `work`, with an inspector (one per core), its index and the bytes that it was
/// decoded from; the results come in the images' order.
///
/// How far it has come is shown under `title`.
///
/// # Errors
///
/// The first failure stops the rest: an image that cannot be read, or what `work` gives.
pub fn for_each_image<T: Send>(
    bundle: &Bundle,
    title: &str,
    images: &[PathBuf],
    work: impl Fn(&mut Inspector, usize, &[u8], RgbImage) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    for_each(bundle, title, images, |inspector, index, path| {
        let bytes = dataset::read_bytes(path)?;
        let image = dataset::decode_rgb(path, &bytes)?;
        work(inspector, index, &bytes, image)
    })
}

/// Hands every item to `work`, with an inspector (one per core) and its index; the results come in the items' order.
///
/// How far it has come is shown under `title`.
///
/// # Errors
///
/// The first failure stops the rest.
pub fn for_each<I: Sync, T: Send>(
    bundle: &Bundle,
    title: &str,
    items: &[I],
    work: impl Fn(&mut Inspector, usize, &I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let progress = Progress::start(title, items.len());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let outcomes = Mutex::new((0..items.len()).map(|_| None).collect::<Vec<Option<Result<T>>>>());
    let lane = || -> Result<()> {
        let mut inspector = Inspector::new(bundle)?;
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let outcome = work(&mut inspector, index, item);
            stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
            outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = Some(outcome);
            progress.step();
        }
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    std::thread::scope(|scope| {
        let lanes = (0..cores).map(|_| scope.spawn(lane)).collect::<Vec<_>>();
        lanes.into_iter().try_for_each(|lane| {
            lane.join().unwrap_or_else(|panic| {
                Err(Error::device("an inspection panicked").because(panic_text(panic.as_ref()).to_owned()))
            })
        })
    })?;
    progress.finish();
    let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // After a failure some items were never begun; the failure itself is among the rest.
    outcomes.into_iter().flatten().collect()
}
