//! The report beside a calibration: one HTML page that needs nothing else.

pub mod what_if;

use std::fmt::Write;

use super::comparison::Comparison;
use super::defects::{Costs, Defective, Detection, Operating, cost, roc};
use super::threshold::{self, INTERVAL};
use super::what_if::WhatIf;
use super::{Calibration, Portrait};
use crate::page::plot::{self, Mark, Roc};
use crate::page::{GENERATOR, escaped, photograph};
use crate::print::counted;

/// Pictures are no wider than this: image and overlay beside each other.
const PICTURE_WIDTH: u32 = 520;

/// So many images of defects are named.
const FARTHEST: usize = 10;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1917}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ddd}\
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}tr.changed{background:#fef3c7}svg{width:100%;height:auto}\
svg.square{max-width:22rem}svg text{font-size:12px}.tick{fill:#57534e}figure{margin:0 0 1rem;padding:0 .5rem;box-sizing:border-box;display:inline-block;width:49%}\
figure img{width:100%}figcaption{font-size:.85rem;overflow-wrap:anywhere}p.warn{background:#fee2e2;padding:.5rem}\
.muted{color:#57534e}@media print{figure{break-inside:avoid}}";

/// What a report tells.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The calibration.
    pub calibration: &'a Calibration,
    /// Whether it is only looked at, and not written yet.
    pub review: bool,
    /// Its most unusual normal images.
    pub portraits: &'a [Portrait],
    /// The one that it takes the place of.
    pub previous: Option<&'a Calibration>,
    /// What the model sees in known defective parts.
    pub defective: &'a Defective,
    /// The score of each normal part.
    pub parts: &'a [f32],
    /// What wrong decisions cost.
    pub costs: Option<Costs>,
    /// What it would have done to parts that are on record.
    pub what_if: Option<&'a WhatIf>,
}

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let c = self.calibration;
        let mut page = head(&format!("Calibration of {}", c.class), c);
        if self.review {
            page += "<p class=\"warn\">For review: this calibration has not been written.</p>";
        }
        if let Some(unlike) = c.unlike_training() {
            let _ = write!(
                page,
                "<p class=\"warn\">{}: a threshold set on defective parts lets such pass.</p>",
                escaped(&unlike)
            );
        }
        self.threshold(&mut page);
        self.scores(&mut page);
        self.defects(&mut page);
        self.portraits(&mut page);
        self.left_out(&mut page);
        self.moved(&mut page);
        if let Some(what_if) = self.what_if {
            what_if::section(&mut page, what_if);
        }
        page + "</html>\n"
    }

    fn threshold(&self, page: &mut String) {
        let c = self.calibration;
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        let mut rows = vec![("Threshold", format!("<b>{:.4}</b>", c.threshold)), ("Images", c.images_told())];
        match c.promise() {
            None => {
                let (rejected, of) = c.rejected_of_own();
                let told = "what is cheapest on these images; no rate of false rejects is promised";
                rows.push((
                    "Set to",
                    format!("{told}. It rejects {rejected} of {}", counted(of as u64, "normal part")),
                ));
            }
            Some((aim, promised)) => {
                let confidence = aim.confidence.map(|share| format!("with {} confidence", threshold::percent(share)));
                let confidence = confidence.as_deref().unwrap_or("on average");
                rows.extend([
                    ("Asked for", format!("at most {} false rejects {confidence}", percent(aim.frr))),
                    ("Set to", format!("{} on average", percent(promised))),
                ]);
            }
        }
        rows.extend(c.audit.as_ref().map(|audit| {
            let moment = |at: &Option<String>, open: &str| at.as_deref().map_or_else(|| open.to_owned(), escaped);
            let told = format!(
                "a chance sample of the parts in {} from {} to {}: {} passed, {} rejected and found good, {} rejected and found bad",
                escaped(&audit.log),
                moment(&audit.from, "its start"),
                moment(&audit.to, "its end"),
                audit.passed,
                audit.rejected_good.len(),
                audit.rejected_bad
            );
            ("Source", told)
        }));
        rows.extend(c.realised_frr.map(|(low, high)| {
            let told = format!(
                "{} to {}, with {}% probability, if its parts are like these",
                percent(low),
                percent(high),
                100.0 * INTERVAL
            );
            ("The line's rate", told)
        }));
        rows.extend(c.picture.map(|picture| {
            let (dark, bright) = picture.allowed_brightness();
            let sharp = picture.sharpness;
            let pictures = c.images.iter().filter_map(|image| image.picture).collect::<Vec<_>>();
            let seen = 100.0 * picture.would_see(0.5, &pictures);
            let told = format!(
                "mean brightness {dark:.0} to {bright:.0}, sharpness from {sharp:.4}; others are faults of the camera. Half of the \
                 light would be seen at once in {seen:.0}% of these pictures"
            );
            ("Pictures", told)
        }));
        rows.extend(c.reference.mask.as_ref().map(|mask| {
            let ignored = 100.0 * mask.ignored_share();
            (
                "Mask",
                format!(
                    "{ignored:.1}% of the picture is ignored: what is hatched below (mask {})",
                    mask.digest().short()
                ),
            )
        }));
        *page += "<table>";
        for (name, value) in rows {
            let _ = write!(page, "<tr><th>{name}<td>{value}");
        }
        *page += "</table>";
    }

    fn scores(&self, page: &mut String) {
        let c = self.calibration;
        let normal = c.images.iter().map(|image| image.score).collect::<Vec<_>>();
        let mut marks =
            vec![Mark { at: c.threshold, label: format!("threshold {:.3}", c.threshold), colour: "#b91c1c" }];
        marks.extend(self.previous.filter(|previous| previous.same_scores(c)).map(|previous| Mark {
            at: previous.threshold,
            label: format!("before {:.3}", previous.threshold),
            colour: "#6b7280",
        }));
        let legend = match self.defective.scores.is_empty() {
            true => "Scores of the normal images.",
            false => {
                "Scores of the normal images (blue) and of the known defective ones (orange), each to its own scale."
            }
        };
        let _ = write!(
            page,
            "<h2>Scores</h2>{}<p class=\"muted\">{legend}</p>",
            plot::histogram(&normal, &self.defective.scores, &marks)
        );
    }

    fn defects(&self, page: &mut String) {
        let scores = &self.defective.scores;
        if scores.is_empty() {
            return;
        }
        let c = self.calibration;
        let curve = roc(self.parts, scores);
        let Detection { images, detected, rate: (low, high) } = Detection::new(scores, c.threshold);
        let _ = write!(
            page,
            "<h2>Known defects</h2><p>Found: {detected} of {images}, {:.1}%; {:.1}% to {:.1}% with {}% confidence, if defects to \
             come are like these.</p>{}",
            100.0 * detected as f64 / images as f64,
            100.0 * low,
            100.0 * high,
            100.0 * INTERVAL,
            plot::roc(&[characteristic(&curve, c.threshold)])
        );
        if let Some((costs, best)) = self.costs.and_then(|costs| Some((costs, costs.optimum(&curve, c.threshold)?))) {
            let _ = write!(
                page,
                "<p>With {} for a miss, {} for a false reject and {}% of the parts defective, a threshold of <b>{:.4}</b> is the \
                 cheapest: {} per part; this one costs {}.</p>",
                costs.miss,
                costs.false_reject,
                100.0 * costs.defect_rate,
                best.threshold,
                cost(best.cost),
                cost(best.cost_of_set)
            );
        }
        self.farthest(page);
        self.others(page);
    }

    /// A product that the model does not know is found as a defect is: what lies farthest is for a person to look at.
    fn farthest(&self, page: &mut String) {
        let class = escaped(&self.calibration.class);
        let _ = write!(
            page,
            "<p>The farthest of them, for a look: do all of them show parts of {class}? A product that the model does not know counts as a \
             defect, and no score tells it from one.</p><table><tr><th>Image<th>Score"
        );
        for (file, score) in self.defective.farthest(FARTHEST) {
            let _ = write!(page, "<tr><td>{}<td class=\"n\">{score:.3}", escaped(file));
        }
        *page += "</table>";
    }

    /// What is left out of all that is said of defects, and why.
    fn others(&self, page: &mut String) {
        let Some(told) = self.defective.others_told(&self.calibration.class) else { return };
        let _ = write!(
            page,
            "<p class=\"warn\">Left out of these figures: {}. A line rejects such as another product, whatever its threshold is, so they say \
             nothing of its defects.</p><table><tr><th>Image<th>Looks like",
            escaped(&told)
        );
        for other in &self.defective.others {
            let _ = write!(page, "<tr><td>{}<td>{}", escaped(&other.file), escaped(&other.product));
        }
        *page += "</table>";
    }

    fn portraits(&self, page: &mut String) {
        *page += "<h2>The most unusual normal images</h2><p class=\"muted\">Are these parts normal? Blue is below the threshold, \
                  yellow at it, red twice as high. Leave one out with <code>--drop FILE=REASON</code>; \
                  <code>--keep FILE</code> says of one that stands apart that it is a good part.</p>";
        figures(page, self.portraits);
    }

    fn left_out(&self, page: &mut String) {
        if self.calibration.dropped.is_empty() {
            return;
        }
        *page += "<h2>Left out by hand</h2><table><tr><th>Image<th>Score<th>Reason";
        for dropped in &self.calibration.dropped {
            let (file, reason) = (escaped(&dropped.file), escaped(&dropped.reason));
            let _ = write!(page, "<tr><td>{file}<td class=\"n\">{:.3}<td>{reason}", dropped.score);
        }
        *page += "</table>";
    }

    fn moved(&self, page: &mut String) {
        let Some(previous) = self.previous else { return };
        let comparison = Comparison::new(previous, self.calibration);
        *page += "<h2>Against the calibration before</h2><table><tr><th><th>Before<th>Now";
        for (name, was, is) in &comparison.rows {
            let changed = if was == is { "" } else { " class=\"changed\"" };
            let _ = write!(page, "<tr{changed}><th>{name}<td>{}<td>{}", escaped(was), escaped(is));
        }
        *page += "</table>";
        let told = comparison.to_string();
        for line in told.lines().skip(comparison.rows.len()) {
            let _ = write!(page, "<p>{}.</p>", escaped(line));
        }
    }
}

/// How a page about a calibration begins.
fn head(title: &str, calibration: &Calibration) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{GENERATOR}<meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>\
         <p class=\"muted\">{} &middot; {} &middot; model {}</p>",
        escaped(&calibration.created),
        escaped(&calibration.written_by),
        calibration.bundle.short()
    )
}

fn figures(page: &mut String, portraits: &[Portrait]) {
    for portrait in portraits {
        let _ = write!(
            page,
            "<figure><img alt=\"\" src=\"{}\"><figcaption>{} &middot; score {:.3}</figcaption></figure>",
            photograph(&portrait.picture, PICTURE_WIDTH),
            escaped(&portrait.file),
            portrait.score
        );
    }
}

/// The curve of falling thresholds, with the point of one.
fn characteristic(curve: &[Operating], threshold: f32) -> Roc<'static> {
    let place = |at: &Operating| (at.false_rejects, at.detected);
    Roc {
        colour: "#2f6fb3",
        points: curve.iter().map(place).collect(),
        mark: curve.iter().find(|at| at.threshold <= threshold).map(place),
    }
}
