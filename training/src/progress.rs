//! How far long work has come: a bar on a terminal, a line now and then in a log.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A log line for every this many percent.
const LOG_EVERY_PERCENT: u64 = 5;

/// Work of a known length.
pub struct Progress {
    what: &'static str,
    bar: ProgressBar,
    started: Instant,
    from: u64,
    logged: u64,
}

impl Progress {
    /// Starts `total` pieces of work, `done` of which an earlier run has already finished. `unit` is what is counted.
    pub fn start(what: &'static str, unit: &str, done: usize, total: usize) -> Self {
        let bar = ProgressBar::new(total as u64);
        let template = format!("{what} [{{bar:30}}] {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left {{wide_msg}}");
        // The template is a constant of this program; should it ever not parse, the default bar serves as well.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_position(done as u64);
        bar.reset_eta();
        let mut progress = Progress { what, bar, started: Instant::now(), from: done as u64, logged: 0 };
        progress.logged = progress.portion(done as u64);
        progress
    }

    /// `done` pieces are finished; `message` gives what else there is to say, if anybody reads it.
    pub fn at(&mut self, done: usize, message: impl FnOnce() -> String) {
        let done = done as u64;
        self.bar.set_position(done);
        if !self.bar.is_hidden() {
            // Drawing is throttled by the bar; composing the message is not.
            if self.bar.elapsed() >= Duration::from_millis(100) {
                self.bar.set_message(message());
            }
        } else if self.portion(done) > self.logged {
            self.logged = self.portion(done);
            let (len, what) = (self.bar.length().unwrap_or(0), self.what);
            let line =
                format!("{what}: {done}/{len} ({}%), {} left {}", done * 100 / len.max(1), self.left(done), message());
            log::info!("{}", line.trim_end());
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn portion(&self, done: u64) -> u64 {
        done * 100 / self.bar.length().unwrap_or(0).max(1) / LOG_EVERY_PERCENT
    }

    fn left(&self, done: u64) -> indicatif::HumanDuration {
        let worked = done.saturating_sub(self.from).max(1);
        let remaining = self.bar.length().unwrap_or(0).saturating_sub(done);
        indicatif::HumanDuration(self.started.elapsed().mul_f64(remaining as f64 / worked as f64))
    }
}
