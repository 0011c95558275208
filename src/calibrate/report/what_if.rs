//! What a calibration would have done to parts that are on record, as a section of a page or a page of its own.

use std::fmt::Write;

use super::{Calibration, figures, head};
use crate::calibrate::what_if::WhatIf;
use crate::page::escaped;
use crate::page::plot::{self, Mark};

/// A page that needs nothing else.
pub fn page(calibration: &Calibration, what_if: &WhatIf) -> String {
    let mut page = head(&format!("What if: {}", calibration.class), calibration);
    section(&mut page, what_if);
    page + "</html>\n"
}

pub(super) fn section(page: &mut String, what_if: &WhatIf) {
    let [[passes, caught], [released, rejects]] = what_if.counts;
    let [passed, rejected] = what_if.untold;
    let _ = write!(
        page,
        "<h2>What it would have done</h2><table><tr><th><th>Passes now<th>Rejected now<th>Not known\
         <tr><th>Passed then<td class=\"n\">{passes}<td class=\"n\">{caught}<td class=\"n\">{passed}\
         <tr><th>Rejected then<td class=\"n\">{released}<td class=\"n\">{rejects}<td class=\"n\">{rejected}</table>"
    );
    for remark in what_if.remarks() {
        let _ = write!(page, "<p>{}.</p>", escaped(&remark));
    }
    let label = format!("threshold {:.3}", what_if.threshold);
    let then = what_if.then.iter().filter(|then| then.other.is_none() && then.threshold != what_if.threshold);
    let then =
        then.map(|then| Mark { at: then.threshold, label: format!("then {:.3}", then.threshold), colour: "#6b7280" });
    let marks =
        std::iter::once(Mark { at: what_if.threshold, label, colour: "#b91c1c" }).chain(then).collect::<Vec<_>>();
    let _ = write!(
        page,
        "{}<p class=\"muted\">Scores of parts that passed then (blue) and that were rejected then (orange), under this \
         calibration, each to its own scale. Thresholds of calibrations that gave the same scores then are grey.</p>",
        plot::histogram(&what_if.scores[0], &what_if.scores[1], &marks)
    );
    changed(page, what_if);
}

fn changed(page: &mut String, what_if: &WhatIf) {
    if what_if.changed.is_empty() {
        let told = what_if.unchanged_told();
        let _ = write!(page, "<p>{}{}.</p>", told[..1].to_uppercase(), &told[1..]);
        return;
    }
    *page += "<h2>Verdicts that change</h2>";
    figures(page, &what_if.portraits);
    *page += "<table><tr><th>Part<th>Captured<th>Score then<th>Now<th>Verdict now";
    for part in &what_if.changed {
        let verdict = if part.rejected { "rejected" } else { "passes" };
        let why = part.why.as_ref().map_or_else(String::new, |why| format!(": {}", escaped(why)));
        let was = part.was.map_or_else(|| "-".to_owned(), |was| format!("{was:.3}"));
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td class=\"n\">{was}<td class=\"n\">{:.3}<td>{verdict}{why}",
            escaped(&part.id),
            escaped(&part.time),
            part.score
        );
    }
    *page += "</table>";
    if what_if.more > 0 {
        let _ = write!(page, "<p>And {} more.</p>", what_if.more);
    }
}
