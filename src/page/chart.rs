//! Charts as SVG. They have a title for those who cannot see them, and need no colour to be told apart.

use std::fmt::Write;

use super::escaped;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 26.0;
/// So wide is a label on the axis, at most: `00:00:00` in a wide font of the size that the page's style gives it.
const LABEL: f64 = 56.0;

/// Layers that are stacked, the lowest first: name, colour, values.
pub struct Layer<'n> {
    /// What the legend calls it.
    pub name: &'n str,
    /// Its colour.
    pub colour: &'n str,
    /// Its values, none below 0.
    pub values: Vec<f64>,
}

/// A line: name, colour, dashes (none: solid), values.
pub struct Line<'n> {
    /// What the legend calls it.
    pub name: &'n str,
    /// Its colour.
    pub colour: &'n str,
    /// Lengths of dashes and gaps; empty: it is solid.
    pub dashes: &'n str,
    /// Its values, evenly along the axis.
    pub values: Vec<Option<f64>>,
}

struct Canvas {
    svg: String,
    height: f64,
    top: f64,
    least: f64,
    most: f64,
}

impl Canvas {
    /// `labels`: a share of the width, and what stands there.
    fn new(title: &str, height: f64, (least, most): (f64, f64), labels: &[(f64, String)]) -> Self {
        let (least, most) = range(least, most);
        let mut svg = String::new();
        // Writing into a text does not fail, here and below.
        let _ = write!(svg, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{}</title>", escaped(title));
        let canvas = Canvas { svg, height, top: 10.0, least, most };
        canvas.axes(labels)
    }

    fn axes(mut self, labels: &[(f64, String)]) -> Self {
        for step in 0..=4 {
            let value = self.least + (self.most - self.least) * f64::from(step) / 4.0;
            let y = self.y(value);
            let _ = write!(
                self.svg,
                "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                number(value)
            );
        }
        for (share, label) in labels {
            // In the middle the last one would reach over the edge, however wide the reader's font is.
            let (x, class) = match self.x(*share) {
                x if x + LABEL / 2.0 > WIDTH => (WIDTH, "end"),
                x => (x, "mid"),
            };
            let y = self.height - 8.0;
            let _ = write!(self.svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escaped(label));
        }
        self
    }

    fn x(&self, share: f64) -> f64 {
        LEFT + share * (WIDTH - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        let room = self.height - BOTTOM - self.top;
        let share = (value - self.least) / (self.most - self.least);
        self.top + room * (1.0 - share.clamp(0.0, 1.0))
    }

    fn end(self) -> String {
        self.svg + "</svg>"
    }
}

/// Bars over time.
pub fn bars(title: &str, layers: &[Layer], labels: &[(f64, String)]) -> String {
    let count = layers.first().map_or(0, |layer| layer.values.len());
    let total = |bin: usize| layers.iter().map(|layer| layer.values[bin]).sum::<f64>();
    let most = (0..count).map(total).fold(0.0, f64::max);
    let mut canvas = Canvas::new(title, 220.0, (0.0, most), labels);
    for bin in 0..count {
        let (x, width) = (canvas.x(bin as f64 / count as f64), (WIDTH - LEFT) / count as f64 - 1.5);
        let mut below = 0.0;
        for layer in layers.iter().filter(|layer| layer.values[bin] > 0.0) {
            let (low, high) = (canvas.y(below), canvas.y(below + layer.values[bin]));
            below += layer.values[bin];
            let _ = write!(
                canvas.svg,
                "<rect x=\"{x:.1}\" y=\"{high:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {}</title></rect>",
                low - high,
                layer.colour,
                layer.name,
                layer.values[bin]
            );
        }
    }
    canvas.end() + &legend(layers.iter().map(|layer| (layer.name, layer.colour, "")))
}

/// Lines over time, and a level that they are held against. The axis begins at 0, or below where a value is.
pub fn lines(title: &str, lines: &[Line], level: Option<f64>, labels: &[(f64, String)]) -> String {
    let values = lines.iter().flat_map(|line| line.values.iter().flatten());
    let values = values.copied().filter(|value| value.is_finite());
    let wanted = level.map_or(f64::NEG_INFINITY, |level| level * 1.2);
    let (least, most) = values.fold((0f64, wanted), |(least, most), value| (least.min(value), most.max(value)));
    let mut canvas = Canvas::new(title, 200.0, (least, most), labels);
    if let Some(y) = level.map(|level| canvas.y(level)) {
        let _ = write!(canvas.svg, "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"level\"/>");
    }
    for line in lines {
        let mut path = String::new();
        let mut draws = false;
        for (bin, value) in line.values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                draws = false;
                continue;
            };
            let x = canvas.x((bin as f64 + 0.5) / line.values.len() as f64);
            let _ = write!(path, "{}{x:.1} {:.1}", if draws { "L" } else { "M" }, canvas.y(value));
            // A section that stands alone is a dot.
            if !draws {
                let _ = write!(path, "h.1");
            }
            draws = true;
        }
        let _ = write!(
            canvas.svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-dasharray=\"{}\" class=\"line\"/>",
            line.colour, line.dashes
        );
    }
    canvas.end() + &legend(lines.iter().map(|line| (line.name, line.colour, line.dashes)))
}

/// Pareto: the most frequent first, each with its share and the share of all up to it.
pub fn pareto(counts: &[(String, u64)]) -> String {
    let total = counts.iter().map(|(_, count)| count).sum::<u64>().max(1) as f64;
    let most = counts.first().map_or(1, |(_, count)| *count).max(1) as f64;
    let mut rows = String::from("<table class=\"pareto\"><tr><th>reason<th><th>parts<th>share<th>up to here</tr>");
    let mut sum = 0;
    for (reason, count) in counts {
        sum += count;
        let _ = write!(
            rows,
            "<tr><td>{}<td class=\"bar\"><div style=\"width:{:.1}%\"></div><td>{count}<td>{:.1}%<td>{:.1}%</tr>",
            escaped(reason),
            *count as f64 / most * 100.0,
            *count as f64 / total * 100.0,
            sum as f64 / total * 100.0
        );
    }
    rows + "</table>"
}

fn legend<'n>(entries: impl Iterator<Item = (&'n str, &'n str, &'n str)>) -> String {
    let entries = entries.map(|(name, colour, dashes)| match dashes {
        "" => format!("<span><i style=\"background:{colour}\"></i>{name}</span>"),
        _ => format!("<span><i class=\"dashed\" style=\"border-color:{colour}\"></i>{name}</span>"),
    });
    format!("<p class=\"legend\">{}</p>", entries.collect::<String>())
}

/// Ends of an axis whose quarters read well.
fn range(least: f64, most: f64) -> (f64, f64) {
    if least >= 0.0 || !least.is_finite() {
        return (0.0, nice(most));
    }
    let most = most.max(least);
    let mut span = nice(most - least);
    loop {
        let first = (least / span * 4.0).floor() * span / 4.0;
        if first + span >= most {
            return (first, first + span);
        }
        span = nice(span * 1.01);
    }
}

/// The next number that reads well on an axis: its quarters do too.
fn nice(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 4.0;
    }
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * power).find(|step| *step >= most).unwrap_or(10.0 * power)
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_of_an_axis_is_within_the_picture() {
        let labels = [(0.0, "06:00:00"), (0.5, "06:04:00"), (1.0, "06:08:00")].map(|(at, text)| (at, text.to_owned()));
        let drawn = bars("b", &[], &labels) + &lines("l", &[], None, &labels);
        let ends = drawn.split("<text x=\"").skip(1).filter(|text| text.contains("06:")).map(|text| {
            let x = text.split('"').next().unwrap().parse::<f64>().unwrap();
            // A digit and a colon of DejaVu Sans, which is wide, have 0.64 and 0.34 of the 11 units of the style.
            let wide = 11.0 * (6.0 * 0.64 + 2.0 * 0.34);
            if text.contains("class=\"end\"") { (x - wide, x) } else { (x - wide / 2.0, x + wide / 2.0) }
        });
        let ends = ends.collect::<Vec<_>>();
        assert_eq!(ends.len(), 6);
        assert!(ends.iter().all(|(left, right)| *left >= 0.0 && *right <= WIDTH), "{ends:?}");
        assert!(ends.windows(2).all(|two| two[0].1 < two[1].0 || two[0].0 > two[1].0), "{ends:?}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.0, 1.0, 7.0, 11.0, 130.0, 0.013].map(nice), [4.0, 1.0, 8.0, 12.0, 160.0, 0.016]);
        assert_eq!(range(0.5, 7.0), (0.0, 8.0));
        assert_eq!(range(-1.1, 0.7), (-2.0, 2.0));
        assert_eq!(range(-3.0, -1.0), (-3.0, -1.0));
        assert_eq!([0.5, 12.0, 0.25].map(number), ["0.5", "12", "0.25"]);
    }
}
