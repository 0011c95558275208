//! The answer as text.

use std::fmt;

use super::{Changed, WhatIf};
use crate::calibrate::threshold::INTERVAL;
use crate::print;

impl WhatIf {
    /// What share was rejected then, and what share is now.
    pub fn rates(&self) -> String {
        let (then, (low, high)) = self.reject_rates();
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        let now = match percent(low) == percent(high) {
            true => percent(low),
            false => format!("{} to {} ({}% confidence)", percent(low), percent(high), 100.0 * INTERVAL),
        };
        format!("{} were rejected then, and {now} with this calibration", percent(then))
    }

    /// Why nothing is told of parts that several frames judged together.
    pub(super) fn means_told(&self) -> Option<String> {
        (self.of_means > 0).then(|| {
            format!(
                "the mean of several frames judged {}, and of these frames the worst alone is kept: what their mean would be nobody \
                 knows, unless the same model and constants judged then (--was)",
                print::counted(self.of_means, "part")
            )
        })
    }

    fn span_told(&self) -> String {
        let told = |(first, last): &(String, String)| format!(", captured {first} to {last}");
        self.span.as_ref().map_or_else(String::new, told)
    }

    /// What judged then, and what is asked about.
    fn then_told(&self) -> String {
        let then = self.then.iter().map(|then| {
            let other = then.other.as_ref().map_or_else(String::new, |other| format!("; it {other}"));
            format!("{} (threshold {}{other})", then.digest.short(), then.threshold)
        });
        let then = then.reduce(|all, then| format!("{all}, {then}")).unwrap_or_else(|| "none".to_owned());
        format!("judged then by calibration {then}; asked about is {}", self.calibration)
    }

    /// What the counts are made of, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let [passed, rejected] = self.untold;
        let parts = |count: u64| print::counted(count, "part");
        let mut remarks = vec![
            format!("asked about {}{}", self.asked, self.span_told()),
            self.then_told(),
            format!("of {} with a verdict {}", parts(self.known() + passed + rejected), self.rates()),
            format!(
                "{} known by recorded scores, {} by stored pictures that were scored again",
                parts(self.recorded),
                self.pictured
            ),
        ];
        if passed + rejected > 0 {
            remarks.push(format!(
                "nothing is known of {passed} passed and {}: their recorded scores are not known to be those of this calibration, and no \
                 picture of them is there",
                print::counted(rejected, "rejected part")
            ));
        }
        remarks.extend(self.means_told());
        if self.of_several > 0 {
            remarks.push(format!(
                "{} judged by the worst of several frames, which alone is kept: another of them may be worse with this calibration",
                print::were(self.of_several, "part")
            ));
        }
        if self.gone > 0 {
            remarks.push(format!("{} not there any more, or cannot be read", print::are(self.gone, "picture")));
        }
        if self.exchanged > 0 {
            remarks.push(format!("{} not what was written", print::are(self.exchanged, "picture")));
        }
        if self.redecoded > 0 {
            remarks.push(format!(
                "of {} the file is the recorded one, and this program's decoder reads it otherwise: it is scored as this program reads it",
                print::counted(self.redecoded, "picture")
            ));
        }
        if !self.is_fair() {
            remarks.push(format!(
                "nothing is known of {} of {} kept by chance: what is left says nothing of all that passed",
                self.sample_gone,
                parts(self.sample.0 + self.sample_gone)
            ));
        }
        if let Some((low, high)) = self.rejected_passes() {
            let (of, hits) = self.sample;
            remarks.push(format!(
                "{} kept by chance, and {hits} of {of} would be rejected, so {:.2}% to {:.2}% of all that passed ({}% confidence)",
                print::were(of, "passed part"),
                100.0 * low,
                100.0 * high,
                100.0 * INTERVAL
            ));
        }
        if self.unjudged > 0 {
            remarks.push(format!("{} had no verdict, and nobody knows what it would be now", parts(self.unjudged)));
        }
        remarks
    }
}

impl fmt::Display for WhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [[passes, caught], [released, rejects]] = self.counts;
        let [passed, rejected] = self.untold;
        writeln!(f, "{:14}{:>12}{:>14}{:>11}", "", "passes now", "rejected now", "not known")?;
        writeln!(f, "{:14}{passes:>12}{caught:>14}{passed:>11}", "passed then")?;
        writeln!(f, "{:14}{released:>12}{rejects:>14}{rejected:>11}", "rejected then")?;
        let remarks = self.remarks();
        remarks.iter().take(remarks.len() - 1).try_for_each(|remark| writeln!(f, "{remark}"))?;
        // There are two remarks at least.
        f.write_str(remarks.last().map_or("", String::as_str))
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.rejected { "rejected" } else { "passes" };
        let was = self.was.map_or_else(|| "-".to_owned(), |was| print::fitted(was, 3, 9));
        write!(f, "{:<38}  {}  {was:>9}  {:>9}  {word}", self.id, self.time, print::fitted(self.score, 3, 9))?;
        self.why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}
