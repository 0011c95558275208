//! How far long work has come: a bar on a terminal, a line in the log now and then elsewhere.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// How often the log is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// What is left is guessed from the steps of so long: the first of them load what all need.
const GUESSED_AFTER: Duration = Duration::from_secs(3);

/// Work of a known number of steps.
#[derive(Debug)]
pub(crate) struct Progress {
    title: String,
    bar: ProgressBar,
    told: Mutex<Instant>,
}

impl Progress {
    /// Of so many steps, under this title.
    pub(crate) fn start(title: &str, steps: usize) -> Self {
        let style = ProgressStyle::with_template("{msg:20} {bar:40} {pos}/{len}  {per_sec}  {left}")
            .expect("the template is a constant that indicatif accepts")
            .with_key("left", left);
        let bar = ProgressBar::new(steps as u64).with_style(style).with_message(title.to_owned());
        Progress { title: title.to_owned(), bar, told: Mutex::new(Instant::now()) }
    }

    /// One more step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
        self.tell();
    }

    /// So many steps are done.
    pub(crate) fn at(&self, done: usize) {
        self.bar.set_position(done as u64);
        self.tell();
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn tell(&self) {
        if !self.bar.is_hidden() {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TOLD_EVERY {
            *told = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            log::info!("{}: {done} of {all}, about {} left", self.title, HumanDuration(self.bar.eta()));
        }
    }
}

fn left(state: &ProgressState, out: &mut dyn Write) {
    if state.elapsed() >= GUESSED_AFTER {
        // Writing into a text does not fail.
        let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
    }
}
