//! Plots, as SVG.

use std::fmt::Write;

use super::super::defects::Operating;

const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 220.0;
const BINS: usize = 48;

/// A line over a histogram, with its label.
pub(super) struct Mark {
    pub(super) at: f32,
    pub(super) label: String,
    pub(super) colour: &'static str,
}

/// Histograms of the scores of normal and of defective parts, with thresholds.
pub(super) fn histogram(normal: &[f32], defective: &[f32], marks: &[Mark]) -> String {
    let finite = || normal.iter().chain(defective).copied().filter(|score| score.is_finite());
    let at = marks.iter().map(|mark| mark.at);
    let least = finite().chain(at.clone()).fold(f32::INFINITY, f32::min);
    let most = finite().chain(at).fold(f32::NEG_INFINITY, f32::max);
    // Defects far away must not press the normals into one bar.
    let far = marks.iter().map(|mark| least + 4.0 * (mark.at - least)).fold(f32::NEG_INFINITY, f32::max);
    let most = most.min(far.max(least + 1e-6)).max(least + 1e-6);
    let bin = |score: f32| (((score - least) / (most - least) * BINS as f32) as usize).min(BINS - 1);
    let count = |scores: &[f32]| {
        let mut counts = [0usize; BINS];
        scores.iter().for_each(|score| counts[bin(if score.is_nan() { most } else { *score })] += 1);
        counts
    };
    let (normals, defects) = (count(normal), count(defective));
    let highest = |counts: &[usize; BINS]| counts.iter().copied().max().unwrap_or(0).max(1) as f32;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"scores\">", HEIGHT + 40.0);
    let x = |score: f32| (score - least) / (most - least) * WIDTH;
    for (counts, colour) in [(&normals, "#2f6fb3"), (&defects, "#c2410c")] {
        let tallest = highest(counts);
        for (i, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, width) = (i as f32 / BINS as f32 * WIDTH, WIDTH / BINS as f32 - 1.0);
            let tall = *count as f32 / tallest * (HEIGHT - 30.0);
            let _ = write!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\" fill=\"{colour}\" \
                 fill-opacity=\".65\"><title>{count}</title></rect>",
                HEIGHT - tall
            );
        }
    }
    for (row, mark) in marks.iter().enumerate() {
        let (x, y) = (x(mark.at), 12.0 + 14.0 * row as f32);
        let (anchor, shift) = if x > 0.7 * WIDTH { ("end", -4.0) } else { ("start", 4.0) };
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"{c}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{c}\">{}</text>",
            x + shift,
            mark.label,
            c = mark.colour
        );
    }
    axis(&mut svg, least, most);
    svg + "</svg>"
}

fn axis(svg: &mut String, least: f32, most: f32) {
    let _ = write!(svg, "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\" stroke=\"#888\"/>");
    for tick in 0..=6 {
        let share = tick as f32 / 6.0;
        let anchor = ["start", "middle", "end"][usize::from(tick > 0) + usize::from(tick == 6)];
        let (x, value) = (share * WIDTH, least + share * (most - least));
        let _ = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\" class=\"tick\">{value:.2}</text>",
            HEIGHT + 16.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" class=\"tick\">score</text>",
        WIDTH / 2.0,
        HEIGHT + 34.0
    );
}

/// The receiver operating characteristic, with the point of a threshold.
pub(super) fn roc(curve: &[Operating], threshold: f32) -> String {
    const SIDE: f64 = 260.0;
    let place = |at: &Operating| (at.false_rejects * SIDE, (1.0 - at.detected) * SIDE);
    let mut points = format!("0,{SIDE}");
    for at in curve {
        let (x, y) = place(at);
        let _ = write!(points, " {x:.1},{y:.1}");
    }
    let mut svg = format!(
        "<svg viewBox=\"-40 -8 {0} {0}\" class=\"square\" role=\"img\" aria-label=\"ROC\">\
         <rect width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#888\"/>\
         <polyline points=\"{points}\" fill=\"none\" stroke=\"#2f6fb3\" stroke-width=\"2\"/>",
        SIDE + 50.0
    );
    if let Some((x, y)) = curve.iter().find(|at| at.threshold <= threshold).map(place) {
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#b91c1c\"/>");
    }
    let _ = write!(
        svg,
        "<text x=\"130\" y=\"{}\" text-anchor=\"middle\" class=\"tick\">normal parts rejected, 0 to 100%</text>\
         <text x=\"-130\" y=\"-10\" transform=\"rotate(-90)\" text-anchor=\"middle\" class=\"tick\">defects found, 0 to 100%</text></svg>",
        SIDE + 20.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_is_counted_and_every_mark_is_in_sight() {
        let mark = |at: f32| Mark { at, label: "threshold".into(), colour: "#b91c1c" };
        let svg = histogram(&[1.0, 1.0, 2.0], &[f32::INFINITY, f32::NAN, 5.0], &[mark(2.0), mark(0.5)]);
        let counts = svg.split("<title>").skip(1).filter_map(|rest| rest.split('<').next()?.parse::<usize>().ok());
        assert_eq!(counts.sum::<usize>(), 6);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let single = histogram(&[1.0], &[], &[mark(1.0)]);
        assert!(!single.contains("NaN") && !single.contains("inf"), "{single}");
    }
}
