//! The live view: a belt of marks and the counters on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::tally::{Outcome, Score, Tally};
use super::{FOLLOWABLE_RATE, Request};
use crate::runtime::Finished;
use crate::synthetic::{DefectKind, Product, Truth};

/// Parts that are seen on the belt.
const BELT: usize = 36;
/// Rejects that are listed.
const REJECTS: usize = 5;
/// Between two pictures on a terminal.
const REDRAW: Duration = Duration::from_millis(50);
/// Latencies that the shown median is taken from.
const RECENT: usize = 100;

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const BOLD: &str = "1";
const FAINT: &str = "2";

/// What is shown of the run.
pub(super) struct View {
    parts: u64,
    seed: u64,
    pace: String,
    live: bool,
    colour: bool,
    started: Instant,
    drawn: Option<Instant>,
    /// Lines on the terminal that the next picture replaces.
    lines: usize,
    belt: VecDeque<(Product, Outcome)>,
    rejects: VecDeque<String>,
    latencies: VecDeque<f64>,
}

impl View {
    pub(super) fn new(request: &Request) -> Self {
        let live = std::io::stdout().is_terminal();
        View {
            parts: request.parts,
            seed: request.seed,
            pace: request.rate.map_or("as fast as it goes".into(), |rate| format!("{rate:.0} parts/s")),
            live,
            colour: live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            started: Instant::now(),
            drawn: None,
            lines: 0,
            belt: VecDeque::new(),
            rejects: VecDeque::new(),
            latencies: VecDeque::new(),
        }
    }

    /// Shows a part whose fate is settled.
    pub(super) fn part(&mut self, finished: &Finished, truth: Truth, outcome: Outcome, tally: &Tally) {
        push(&mut self.belt, (truth.product, outcome), BELT);
        if let Some(latency) = finished.record.latency {
            push(&mut self.latencies, latency.total.as_secs_f64() * 1e3, RECENT);
        }
        if outcome != Outcome::Passed {
            let line = self.event(finished, truth, outcome);
            push(&mut self.rejects, line, REJECTS);
        }
        if self.live {
            if self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
                self.draw(tally);
            }
        } else {
            self.report(outcome, tally);
        }
    }

    /// Shows the last state.
    pub(super) fn finish(&mut self, tally: &Tally) {
        if self.live {
            self.draw(tally);
            self.print("\n");
        }
    }

    /// For a log: every decision that is not a pass, and now and then the counters. At full speed the counters alone.
    fn report(&mut self, outcome: Outcome, tally: &Tally) {
        let parts = tally.total().parts;
        if outcome != Outcome::Passed && self.pace_is_followable() {
            let line = self.rejects.back().cloned().unwrap_or_default();
            self.print(&format!("{line}\n"));
        }
        if parts.is_multiple_of((self.parts / 10).max(1)) {
            let counters = self.counters(tally);
            self.print(&format!("{counters}\n"));
        }
    }

    fn pace_is_followable(&self) -> bool {
        self.parts as f64 <= 100.0 * FOLLOWABLE_RATE
    }

    fn draw(&mut self, tally: &Tally) {
        let mut picture = vec![
            self.paint(BOLD, &format!("hgad demo   synthetic conveyor, seed {}, {}", self.seed, self.pace)),
            String::new(),
            self.rail(),
            format!("  {}", self.marks()),
            self.rail(),
            self.legend(),
            String::new(),
            self.counters(tally),
            String::new(),
        ];
        picture.extend((0..REJECTS).map(|i| self.rejects.get(i).cloned().unwrap_or_default()));
        // Back to the first line, then each line anew; what is left of an older, longer line is cleared.
        let mut text = String::new();
        if self.lines > 0 {
            text += &format!("\x1b[{}A", self.lines);
        }
        for line in &picture {
            text += &format!("\r{line}\x1b[K\n");
        }
        self.lines = picture.len();
        self.drawn = Some(Instant::now());
        self.print(&text);
    }

    fn rail(&self) -> String {
        self.paint(FAINT, &format!("  {}", "═".repeat(2 * BELT - 1)))
    }

    /// The belt runs to the right: the newest part comes in at the left.
    fn marks(&self) -> String {
        let marks = self.belt.iter().rev().map(|(product, outcome)| {
            let mark = if *outcome == Outcome::Rejected || *outcome == Outcome::FalseReject {
                "✗"
            } else {
                match product {
                    Product::Blister => "▤",
                    Product::Cap => "◉",
                    Product::Gear => "✱",
                }
            };
            self.paint(colour_of(*outcome), mark)
        });
        marks.collect::<Vec<_>>().join(" ")
    }

    fn legend(&self) -> String {
        let (passed, rejected, wrong) =
            (self.paint(GREEN, "passed"), self.paint(RED, "✗ rejected"), self.paint(YELLOW, "wrong"));
        format!("  ▤ blister  ◉ cap  ✱ gear    {passed}  {rejected}  {wrong}")
    }

    fn counters(&self, tally: &Tally) -> String {
        let Score { parts, defective, rejected, false_rejects, missed } = tally.total();
        let rate = parts as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let mut recent = self.latencies.iter().copied().collect::<Vec<_>>();
        recent.sort_by(f64::total_cmp);
        let median = recent.get(recent.len() / 2).copied().unwrap_or_default();
        let wrong = |count: u64, text: String| if count > 0 { self.paint(YELLOW, &text) } else { text };
        format!(
            "  parts {parts:>4}/{}  {rate:>5.1}/s   rejected {rejected} of {defective} defective   {}  {}   verdict in {median:.1} ms",
            self.parts,
            wrong(missed, format!("missed {missed}")),
            wrong(false_rejects, format!("false rejects {false_rejects}")),
        )
    }

    fn event(&self, finished: &Finished, truth: Truth, outcome: Outcome) -> String {
        let record = &finished.record;
        let word = match outcome {
            Outcome::Missed => "MISSED",
            Outcome::FalseReject => "FALSE REJECT",
            Outcome::Rejected => "rejected",
            Outcome::Passed => "passed",
        };
        let word = self.paint(colour_of(outcome), &format!("{word:<12}"));
        let score = record.judgement.as_ref().map_or_else(String::new, |judgement| {
            let sign = if judgement.rejects { ">" } else { "<=" };
            format!("score {:.3} {sign} {:.3}", judgement.score, judgement.threshold)
        });
        let kind = truth.defect.map_or("good", DefectKind::name);
        format!("  {word} {}  {:<8} {kind:<13} {score}", record.origin, truth.product.name())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A view that nobody can see any more (a closed pipe) must not stop the line.
    fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn colour_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => GREEN,
        Outcome::Rejected => RED,
        Outcome::Missed | Outcome::FalseReject => YELLOW,
    }
}

fn push<T>(row: &mut VecDeque<T>, new: T, most: usize) {
    row.push_back(new);
    if row.len() > most {
        row.pop_front();
    }
}
