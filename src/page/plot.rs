//! Plots of scores, as SVG.

use std::fmt::Write;

const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 220.0;
const BINS: usize = 48;

/// A line over a histogram, with its label.
pub struct Mark {
    /// Where it stands.
    pub at: f32,
    /// What stands beside it.
    pub label: String,
    /// Its colour.
    pub colour: &'static str,
}

/// Histograms of the scores of normal and of defective parts, with thresholds.
pub fn histogram(normal: &[f32], defective: &[f32], marks: &[Mark]) -> String {
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

/// A receiver operating characteristic.
pub struct Roc<'c> {
    /// Its colour.
    pub colour: &'c str,
    /// Shares of the normal parts that are rejected and of the defects that are found, the threshold falling.
    pub points: Vec<(f64, f64)>,
    /// The point of a threshold that is set.
    pub mark: Option<(f64, f64)>,
}

/// Receiver operating characteristics in one square.
pub fn roc(curves: &[Roc]) -> String {
    const SIDE: f64 = 260.0;
    let place = |(false_rejects, detected): (f64, f64)| (false_rejects * SIDE, (1.0 - detected) * SIDE);
    let mut svg = format!(
        "<svg viewBox=\"-40 -8 {0} {0}\" class=\"square\" role=\"img\" aria-label=\"ROC\">\
         <rect width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#888\"/>",
        SIDE + 50.0
    );
    for Roc { colour, points, mark } in curves {
        let mut path = format!("0,{SIDE}");
        for (x, y) in points.iter().copied().map(place) {
            let _ = write!(path, " {x:.1},{y:.1}");
        }
        let _ = write!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        if let Some((x, y)) = mark.map(place) {
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#b91c1c\"/>");
        }
    }
    let _ = write!(
        svg,
        "<text x=\"130\" y=\"{}\" text-anchor=\"middle\" class=\"tick\">normal parts rejected, 0 to 100%</text>\
         <text x=\"-130\" y=\"-10\" transform=\"rotate(-90)\" text-anchor=\"middle\" class=\"tick\">defects found, 0 to 100%</text></svg>",
        SIDE + 20.0
    );
    svg
}

/// Two distributions at one moment.
pub struct Ridge {
    /// What stands to the left.
    pub label: String,
    /// What stands to the right.
    pub note: String,
    /// How much of the normal lies in each bin.
    pub normal: Vec<f64>,
    /// How much of the anomalous does.
    pub anomalous: Vec<f64>,
}

/// Moments below each other, each curve to its own height. `middle` tells what bin number i stands for; all rows have the same bins.
pub fn ridges(title: &str, rows: &[Ridge], middle: impl Fn(usize) -> f32) -> String {
    const TALL: f64 = 34.0;
    const STEP: f64 = 42.0;
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 50.0;
    let bins = rows.first().map_or(0, |row| row.normal.len());
    let used = |bin: &usize| rows.iter().any(|row| row.normal[*bin] > 0.0 || row.anomalous[*bin] > 0.0);
    let first = (0..bins).find(used).unwrap_or(0);
    let last = (0..bins).rfind(used).unwrap_or(0).max(first + 1);
    let width = f64::from(WIDTH);
    let x = |bin: usize| LEFT + (bin - first) as f64 / (last - first) as f64 * (width - LEFT - RIGHT);
    let bottom = rows.len() as f64 * STEP + 4.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>",
        bottom + 24.0
    );
    for (number, row) in rows.iter().enumerate() {
        let base = (number + 1) as f64 * STEP;
        for (values, style) in [
            (&row.normal, "fill=\"#2f6fb3\" fill-opacity=\".55\""),
            (&row.anomalous, "fill=\"none\" stroke=\"#c2410c\" stroke-width=\"1.5\""),
        ] {
            let most = values.iter().copied().fold(0.0, f64::max);
            if most <= 0.0 {
                continue;
            }
            let mut points = format!("{:.1},{base:.1}", x(first));
            for (bin, value) in values.iter().enumerate().take(last + 1).skip(first) {
                let _ = write!(points, " {:.1},{:.1}", x(bin), base - value / most * TALL);
            }
            let _ = write!(svg, "<polyline points=\"{points} {:.1},{base:.1}\" {style}/>", x(last));
        }
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{base:.1}\" y2=\"{base:.1}\" stroke=\"#bbb\"/>\
             <text x=\"0\" y=\"{:.1}\" class=\"tick\">{}</text><text x=\"{width}\" y=\"{:.1}\" class=\"tick\" \
             text-anchor=\"end\">{}</text>",
            width - RIGHT,
            base - 4.0,
            row.label,
            base - 4.0,
            row.note
        );
    }
    for tick in 0..=4 {
        let bin = first + (last - first) * tick / 4;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"tick\">{:.1}</text>",
            x(bin),
            bottom + 16.0,
            middle(bin)
        );
    }
    svg + "</svg>"
}

/// Points of one kind.
pub struct Cloud<'c> {
    /// Its colour.
    pub colour: &'c str,
    /// The radius of a point; a negative one draws crosses of that size.
    pub size: f64,
    /// Where the points lie.
    pub points: Vec<[f64; 2]>,
}

/// Points in a plane, to one scale in both directions; later clouds lie above.
pub fn scatter(title: &str, clouds: &[Cloud]) -> String {
    const SIDE: f64 = 460.0;
    let all = || clouds.iter().flat_map(|cloud| &cloud.points).filter(|p| p.iter().all(|v| v.is_finite()));
    let least = all().fold([f64::INFINITY; 2], |least, p| [least[0].min(p[0]), least[1].min(p[1])]);
    let most = all().fold([f64::NEG_INFINITY; 2], |most, p| [most[0].max(p[0]), most[1].max(p[1])]);
    let span = (most[0] - least[0]).max(most[1] - least[1]).max(1e-9);
    let place = |p: &[f64; 2]| {
        let to = |axis: usize| (p[axis] - (least[axis] + most[axis]) / 2.0) / span * (SIDE - 20.0) + SIDE / 2.0;
        (to(0), SIDE - to(1))
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {SIDE} {SIDE}\" class=\"plane\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
         <rect width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#888\"/>"
    );
    for Cloud { colour, size, points } in clouds {
        for (x, y) in points.iter().filter(|p| p.iter().all(|v| v.is_finite())).map(place) {
            let _ = match *size < 0.0 {
                false => write!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size}\" fill=\"{colour}\" fill-opacity=\".55\"/>"
                ),
                true => {
                    let (left, top, length) = (x + size, y + size, -2.0 * size);
                    write!(
                        svg,
                        "<path d=\"M{left:.1} {y:.1}h{length:.1}M{x:.1} {top:.1}v{length:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
                    )
                }
            };
        }
    }
    svg + "</svg>"
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
        let row =
            Ridge { label: "1".into(), note: String::new(), normal: vec![0.0, 2.0, 1.0], anomalous: vec![0.0; 3] };
        let drawn = ridges("r", &[row], |bin| bin as f32);
        assert!(drawn.matches("<polyline").count() == 1 && !drawn.contains("NaN"), "{drawn}");
        let cloud = Cloud { colour: "#000", size: 1.0, points: vec![[0.0, 0.0], [f64::NAN, 1.0]] };
        let drawn = scatter("s", &[cloud]);
        assert!(drawn.matches("<circle").count() == 1 && !drawn.contains("NaN"), "{drawn}");
        let single = histogram(&[1.0], &[], &[mark(1.0)]);
        assert!(!single.contains("NaN") && !single.contains("inf"), "{single}");
    }
}
