//! The page.

use std::fmt::Write;

use hgad::bundle::{Bundle, LevelCenters};
use hgad::calibrate::defects::roc;
use hgad::evaluate::figures::{Figure, Values, mean};
use hgad::page::chart::{self, Line};
use hgad::page::plot::{self, Cloud, Ridge, Roc};
use hgad::page::{drawing, escaped, head, section};
use image::{Rgb, RgbImage};
use ndarray::{Array2, Axis};

use super::centers::Shown;
use super::judged::Judged;
use super::{Known, Run};
use crate::compare::FIGURES;
use crate::fit::{History, Likelihoods, Losses, Prior, Record};

/// Runs, in turn.
const COLOURS: [&str; 6] = ["#1f4e79", "#c2410c", "#2e7d32", "#6a1b9a", "#8a6300", "#00838f"];
/// Levels, in turn.
const DASHES: [&str; 4] = ["", "6 4", "2 3", "10 3 2 3"];
/// So many distances between main centers are told in numbers.
const TOLD: usize = 16;
/// The side of a matrix picture's field in pixels.
const FIELD: u32 = 4;

pub(super) fn page(runs: &[Run]) -> String {
    let names = runs.iter().map(|run| escaped(&run.name)).collect::<Vec<_>>().join(", ");
    let title = format!("Training report: {names}");
    let made = concat!("made by hgad-train ", env!("CARGO_PKG_VERSION"));
    let mut html = head(&title, &title, made);
    section(&mut html, "Runs", &overview(runs));
    section(&mut html, "Losses as training went on", &losses(runs));
    section(&mut html, "How likely normal and anomalous features were as training went on", &likelihoods(runs));
    section(&mut html, "Distances between centers", &each(runs, |run| &run.bundle, centers));
    section(&mut html, "Latents and centers in a plane", &planes(runs));
    section(&mut html, "By product", &figures(runs));
    section(&mut html, "Receiver operating characteristics", &curves(runs));
    section(&mut html, "Best, median and worst", &each(runs, |run| &run.judged, |judged| overlays(judged)));
    section(&mut html, "Which product an image is taken for", &confusions(runs));
    html + "</body></html>\n"
}

/// What is known of each run, under its name; of the others why it is not.
fn each<T>(runs: &[Run], known: impl Fn(&Run) -> &Known<T>, show: impl Fn(&T) -> String) -> String {
    let of_run = |run: &Run| {
        let content = match known(run) {
            Ok(known) => show(known),
            Err(why) => missing(why),
        };
        if runs.len() > 1 { format!("<h3>{}</h3>{content}", escaped(&run.name)) } else { content }
    };
    runs.iter().map(of_run).collect()
}

fn missing(why: &str) -> String {
    format!("<p class=\"warned\">Not shown: {}.</p>", escaped(why))
}

/// Why something is missing, of the runs of which it is.
fn absent<T>(runs: &[Run], known: impl Fn(&Run) -> &Known<T>) -> String {
    let of_run = |run: &Run| {
        let why = known(run).as_ref().err()?;
        Some(missing(&if runs.len() > 1 { format!("{}: {why}", run.name) } else { why.clone() }))
    };
    runs.iter().filter_map(of_run).collect()
}

fn colour(place: usize) -> &'static str {
    COLOURS[place % COLOURS.len()]
}

fn overview(runs: &[Run]) -> String {
    let mut html = String::from("<table><tr><th>run<th>bundle<th>method<th>how</tr>");
    for run in runs {
        let (digest, method) = match &run.bundle {
            Ok(bundle) => {
                let method = bundle.manifest.training.get("method").and_then(toml::Value::as_str).unwrap_or("hgad");
                (bundle.digest.short(), method.to_owned())
            }
            Err(why) => (escaped(why), "-".to_owned()),
        };
        let how = run.history.as_ref().map_or_else(|_| "-".to_owned(), how);
        let _ = write!(html, "<tr><td>{}<td>{digest}<td>{}<td>{how}</tr>", escaped(&run.name), escaped(&method));
    }
    html + "</table>"
}

fn how(history: &History) -> String {
    let recipe = &history.recipe;
    let prior = match recipe.prior {
        Prior::Standard => "a single center for all products".to_owned(),
        Prior::FixedCenters if recipe.learns_offsets() => {
            format!("a fixed center for each product, and {} learned ones about it", recipe.centers - 1)
        }
        Prior::FixedCenters => "a fixed center for each product".to_owned(),
        Prior::Classes if recipe.learns_offsets() => format!("{} learned centers for each product", recipe.centers),
        Prior::Classes => "a learned center for each product".to_owned(),
    };
    let done = history.records.last().map_or(0, |record| record.step);
    format!(
        "{prior}; {done} of {} steps, {} epochs; lambda1 {}, lambda2 {}; seed {}",
        history.steps, recipe.epochs, recipe.losses.likelihood, recipe.losses.information, recipe.seed
    )
}

fn losses(runs: &[Run]) -> String {
    let known = runs.iter().enumerate().filter_map(|(r, run)| Some((r, run, run.history.as_ref().ok()?)));
    let known = known.collect::<Vec<_>>();
    let mut html = absent(runs, |run| &run.history);
    for (loss, name) in Losses::<f32>::NAMES.into_iter().enumerate() {
        let counted = known.iter().filter(|(_, _, history)| history.recipe.losses.counted()[loss]);
        let named = counted.flat_map(|(r, run, history)| {
            let levels = 0..history.records.last().map_or(0, |record| record.losses.len());
            levels.map(move |level| {
                let name = format!("{} {}", escaped(&run.name), escaped(&history.about.taps[level]));
                (name, *r, level, loss_over_time(history, level, loss))
            })
        });
        let named = named.collect::<Vec<_>>();
        let lines = named.iter().map(|(name, run, level, values)| Line {
            name,
            colour: colour(*run),
            dashes: DASHES[level % DASHES.len()],
            values: values.clone(),
        });
        let lines = lines.collect::<Vec<_>>();
        if lines.is_empty() {
            continue;
        }
        let labels = (0..=4).map(|quarter| (f64::from(quarter) / 4.0, format!("{}%", 25 * quarter)));
        let chart = chart::lines(name, &lines, None, &labels.collect::<Vec<_>>());
        let _ = write!(html, "<h3>{name}: {}</h3>{chart}", meaning(loss));
    }
    let ends = known.iter().filter_map(|(_, run, history)| {
        let last = history.records.iter().rev().find(|record| !record.losses.is_empty())?;
        Some((run, history, last))
    });
    html.push_str("<table><tr><th>at the end<th>tap");
    Losses::<f32>::NAMES.iter().for_each(|name| html.push_str(&format!("<th class=\"n\">{name}")));
    for (run, history, last) in ends {
        for (level, losses) in last.losses.iter().enumerate() {
            let counted = losses.iter().zip(history.recipe.losses.counted());
            let cells = counted.map(|(loss, counted)| {
                if counted { format!("<td class=\"n\">{loss:.4}") } else { "<td class=\"n\">-".to_owned() }
            });
            let tap = escaped(&history.about.taps[level]);
            let _ = write!(html, "<tr><td>{}<td>{tap}{}", escaped(&run.name), cells.collect::<String>());
        }
    }
    html + "</table><p class=\"note\">Running means, before each loss's weight, over the share of each run's steps. A loss that does not \
            count is not shown; those of the centers within a product join in after 2 of 25 parts.</p>"
}

fn meaning(loss: usize) -> &'static str {
    [
        "likelihood under the products' main centers, in nats per channel, negative",
        "mutual information of latents and products, negative",
        "entropy of the products' posterior",
        "likelihood under the own product's centers, in nats per channel, negative",
        "a bound on that likelihood",
    ][loss]
}

/// Along the run's steps, evenly: a moment that is not kept takes the value of the next one that is.
fn loss_over_time(history: &History, level: usize, loss: usize) -> Vec<Option<f64>> {
    const PLACES: usize = 100;
    let at = |place: usize| {
        let step = (place + 1) * history.steps / PLACES;
        let mut after = history.records.iter().filter(|record| !record.losses.is_empty());
        after.find(|record| record.step >= step).map(|record| f64::from(record.losses[level][loss]))
    };
    (0..PLACES).map(at).collect()
}

fn likelihoods(runs: &[Run]) -> String {
    let mut html = absent(runs, |run| &run.history);
    let known = runs.iter().filter_map(|run| Some((run, run.history.as_ref().ok()?))).collect::<Vec<_>>();
    if known.is_empty() {
        return html;
    }
    let levels = known.iter().map(|(_, history)| history.about.taps.len()).max().unwrap_or(0);
    for level in 0..levels {
        html.push_str("<div class=\"pair even\">");
        for (run, history) in &known {
            let Some(tap) = history.about.taps.get(level) else { continue };
            let title = format!("{}, {}", escaped(&run.name), escaped(tap));
            let rows = ridges(run, history, level);
            let _ =
                write!(html, "<figure><h3>{title}</h3>{}</figure>", plot::ridges(&title, &rows, Likelihoods::middle));
        }
        html.push_str("</div>");
    }
    html.push_str(&overlap(&known));
    html.push_str(&told_of_likelihoods(&known));
    html
}

fn ridges(run: &Run, history: &History, level: usize) -> Vec<Ridge> {
    let row = |(moment, record): (usize, &Record)| {
        let (normal, anomalous) = both(run, record, moment, level);
        let counts = |likelihoods: &Likelihoods| likelihoods.all().into_iter().map(|count| count as f64).collect();
        Ridge {
            label: epochs(history, record),
            note: normal.above(&anomalous).map_or_else(String::new, |share| format!("{share:.3}")),
            normal: counts(&normal),
            anomalous: counts(&anomalous),
        }
    };
    history.kept().enumerate().map(row).collect()
}

/// The likelihoods of normal and of anomalous features at a moment.
fn both(run: &Run, record: &Record, moment: usize, level: usize) -> (Likelihoods, Likelihoods) {
    let normal = record.likelihoods[level].iter().fold(Likelihoods::default(), |all, class| all.with(class));
    let anomalous = run.anomalous.as_ref().ok().and_then(|anomalous| anomalous.moments.get(moment)?.get(level));
    (normal, anomalous.cloned().unwrap_or_default())
}

fn epochs(history: &History, record: &Record) -> String {
    match record.step / history.steps_per_epoch.max(1) {
        0 => "at first".to_owned(),
        1 => "1 epoch".to_owned(),
        epochs => format!("{epochs} epochs"),
    }
}

/// In numbers.
fn overlap(known: &[(&Run, &History)]) -> String {
    let mut html = String::from(
        "<table><tr><th>run<th>tap<th>after<th class=\"n\">normal, mean<th class=\"n\">anomalous, mean<th class=\"n\">normal likelier",
    );
    let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    for (run, history) in known {
        for (level, tap) in history.about.taps.iter().enumerate() {
            for (moment, record) in history.kept().enumerate() {
                let (normal, anomalous) = both(run, record, moment, level);
                let _ = write!(
                    html,
                    "<tr><td>{}<td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}",
                    escaped(&run.name),
                    escaped(tap),
                    epochs(history, record),
                    text(normal.mean()),
                    text(anomalous.mean()),
                    text(normal.above(&anomalous))
                );
            }
        }
    }
    html + "</table>"
}

fn told_of_likelihoods(known: &[(&Run, &History)]) -> String {
    let mut html = String::from(
        "<p class=\"note\">Logarithms of likelihoods per channel, in nats, of features at single positions: normal images (blue, filled) and \
         positions in the masks of defective test images (orange), each to its own height; what lies beyond the ends counts in them. The number \
         at the right is the probability that a normal feature is likelier than an anomalous one: 0.5 where the flow cannot tell them apart, as \
         when it maps all of them close to one center (homogeneous mapping).</p>",
    );
    for (run, history) in known {
        let which =
            if history.about.held_out { "that training did not see" } else { "of the training, as none were held out" };
        let anomalous = match &run.anomalous {
            Err(why) => format!("anomalous ones are not shown: {}", escaped(why)),
            Ok(anomalous) => {
                let without = match anomalous.without.as_slice() {
                    [] => String::new(),
                    without => format!("; no masks, and no part in it, have {}", escaped(&without.join(", "))),
                };
                format!("anomalous ones are of {} images{without}", anomalous.images)
            }
        };
        let _ =
            write!(html, "<p class=\"note\">{}: normal images are ones {which}; {anomalous}.</p>", escaped(&run.name));
    }
    html
}

fn centers(bundle: &Bundle) -> String {
    let of_level = |l: usize| {
        let shown = match Shown::of(bundle, l) {
            Ok(shown) => shown,
            Err(why) => return missing(&why),
        };
        let distances = shown.distances();
        let most = distances.iter().copied().fold(0.0, f32::max);
        format!(
            "<h3>{}</h3><div class=\"pair\"><figure class=\"matrix\"><img alt=\"distances between centers\" src=\"{}\"><figcaption>All \
             centers against all, {} of each product beside each other{}: white is 0, dark {most:.2}</figcaption></figure>{}</div>",
            escaped(&bundle.manifest.levels[l].tap),
            drawing(&matrix(&distances, most)),
            shown.of_class,
            shown.note,
            in_numbers(&bundle.manifest.classes, &distances, shown.of_class, &bundle.centers.levels[l])
        )
    };
    // What no level has is said once.
    let levels = if Shown::of(bundle, 0).is_ok() { bundle.manifest.levels.len() } else { 1 };
    (0..levels).map(of_level).collect()
}

fn matrix(distances: &Array2<f32>, most: f32) -> RgbImage {
    let field = if distances.nrows() > 200 { 1 } else { FIELD };
    let side = distances.nrows() as u32 * field;
    RgbImage::from_fn(side, side, |x, y| {
        let share = distances[[(y / field) as usize, (x / field) as usize]] / most.max(f32::MIN_POSITIVE);
        let mix = |dark: f32| (255.0 + (dark - 255.0) * share) as u8;
        Rgb([mix(20.0), mix(50.0), mix(90.0)])
    })
}

/// How far each product's centers lie from its main one, and that from the nearest of another product.
fn in_numbers(classes: &[String], distances: &Array2<f32>, of_class: usize, centers: &LevelCenters) -> String {
    let mut html = String::from(
        "<table><tr><th>product<th class=\"n\">within, mean<th class=\"n\">to the nearest main center<th>of</tr>",
    );
    for (class, name) in classes.iter().enumerate().take(TOLD) {
        let main = class * of_class;
        let offsets = centers.dmu.index_axis(Axis(0), class);
        let within =
            offsets.outer_iter().map(|offset| offset.dot(&offset).sqrt()).sum::<f32>() / offsets.nrows().max(1) as f32;
        let others = (0..distances.nrows() / of_class).filter(|other| *other != class);
        let nearest = others.min_by(|a, b| distances[[main, a * of_class]].total_cmp(&distances[[main, b * of_class]]));
        let within = if offsets.nrows() > 0 { format!("{within:.3}") } else { "-".to_owned() };
        let (far, of) = nearest.map_or_else(
            || ("-".to_owned(), "-"),
            |other| (format!("{:.3}", distances[[main, other * of_class]]), classes[other].as_str()),
        );
        let _ = write!(
            html,
            "<tr><td>{}<td class=\"n\">{within}<td class=\"n\">{far}<td>{}</tr>",
            escaped(name),
            escaped(of)
        );
    }
    if classes.len() > TOLD {
        let _ = write!(html, "<tr><td>{} more</tr>", classes.len() - TOLD);
    }
    html + "</table>"
}

fn planes(runs: &[Run]) -> String {
    let mut html = absent(runs, |run| &run.seen);
    html.push_str("<div class=\"pair even\">");
    for run in runs {
        let Some(plane) = run.seen.as_ref().ok().and_then(|seen| seen.plane.as_ref()) else { continue };
        let colours = (0..run.classes().len()).map(class_colour).collect::<Vec<_>>();
        let cloud = |colour, size, points: &Vec<_>| Cloud { colour, size, points: points.clone() };
        let normal = plane.normal.iter().zip(&colours).map(|(points, colour)| cloud(colour, 1.6, points));
        let anomalous = cloud("#000", 1.2, &plane.anomalous);
        let centers = plane.centers.iter().zip(&colours).map(|(points, colour)| cloud(colour, -6.0, points));
        let clouds = normal.chain([anomalous]).chain(centers).collect::<Vec<_>>();
        let _ = write!(
            html,
            "<figure><h3>{}, {}</h3>{}<figcaption>{:.0}% of the spread along, {:.0}% across</figcaption></figure>",
            escaped(&run.name),
            escaped(&plane.level),
            plot::scatter("latents and centers", &clouds),
            100.0 * plane.shares[0],
            100.0 * plane.shares[1]
        );
    }
    html.push_str("</div>");
    if let Some(run) = runs.iter().find(|run| run.seen.is_ok()) {
        let names = run.classes().iter().enumerate();
        let names = names
            .map(|(c, name)| format!("<span><i style=\"background:{}\"></i>{}</span>", class_colour(c), escaped(name)));
        let _ = write!(
            html,
            "<p class=\"legend\">{}<span><i style=\"background:#000\"></i>in the masks of defects</span></p><p class=\"note\">Latents at single \
             positions of test images, at the last level, in the plane of the two principal components of those of good parts (PCA of the \
             latents, not of the centers). Crosses are centers, the main ones and those within a product.</p>",
            names.collect::<String>()
        );
    }
    html
}

/// Hues far apart for neighbours.
fn class_colour(class: usize) -> String {
    format!("hsl({},65%,{}%)", (class * 137) % 360, 38 + 12 * (class / 8 % 2))
}

fn figures(runs: &[Run]) -> String {
    let names = ["image AUROC", "image AP", "pixel AUROC", "pixel AP", "misses", "false rejects"];
    let mut html = absent(runs, |run| &run.judged) + "<table><tr><th>product<th>run";
    names.iter().for_each(|name| html.push_str(&format!("<th class=\"n\">{name}")));
    html.push_str("<th class=\"n\">good<th class=\"n\">defective<th class=\"n\">threshold</tr>");
    let known = runs.iter().filter_map(|run| Some((run, run.judged.as_ref().ok()?))).collect::<Vec<_>>();
    for class in 0..known.first().map_or(0, |(_, judged)| judged.len()) {
        for (run, judged) in &known {
            let Judged { class, calibration, evidence, .. } = &judged[class];
            let (good, defective) = evidence.counts();
            let _ = write!(
                html,
                "<tr><td>{}<td>{}{}<td class=\"n\">{good}<td class=\"n\">{defective}<td class=\"n\">{:.3}</tr>",
                escaped(class),
                escaped(&run.name),
                cells(&evidence.figures(&FIGURES)),
                calibration.threshold
            );
        }
    }
    for (run, judged) in &known {
        let classes = judged.iter().map(|judged| judged.evidence.figures(&FIGURES)).collect::<Vec<_>>();
        let _ = write!(html, "<tr><th>mean<td>{}{}</tr>", escaped(&run.name), cells(&mean(&classes)));
    }
    html + "</table><p class=\"note\">Misses and false rejects are those at thresholds that were calibrated on normal images which training did \
            not see. hgad-train compare prints the same figures.</p>"
}

fn cells(values: &Values) -> String {
    let cell = |(figure, value): (&Figure, &Option<f64>)| match value {
        None => "<td class=\"n\">-".to_owned(),
        Some(value) if figure.is_rate() => format!("<td class=\"n\">{:.1}%", 100.0 * value),
        Some(value) => format!("<td class=\"n\">{value:.4}"),
    };
    FIGURES.iter().zip(values).map(cell).collect()
}

fn curves(runs: &[Run]) -> String {
    let known = runs.iter().enumerate().filter_map(|(r, run)| Some((r, run, run.judged.as_ref().ok()?)));
    let known = known.collect::<Vec<_>>();
    let mut html = absent(runs, |run| &run.judged) + "<div class=\"gallery wide\">";
    for class in 0..known.first().map_or(0, |(_, _, judged)| judged.len()) {
        let of_runs = known.iter().map(|(r, _, judged)| characteristic(&judged[class], colour(*r))).collect::<Vec<_>>();
        let name = escaped(&known[0].2[class].class);
        let _ = write!(html, "<figure><h3>{name}</h3>{}</figure>", plot::roc(&of_runs));
    }
    html.push_str("</div>");
    let names = known
        .iter()
        .map(|(r, run, _)| format!("<span><i style=\"background:{}\"></i>{}</span>", colour(*r), escaped(&run.name)));
    let _ = write!(
        html,
        "<p class=\"legend\">{}<span>dots: at the calibrated thresholds</span></p>",
        names.collect::<String>()
    );
    html
}

fn characteristic<'c>(judged: &Judged, colour: &'c str) -> Roc<'c> {
    let scores = |defective: bool| {
        let images = judged.evidence.images.iter().filter(move |image| image.defective == defective);
        images.map(|image| image.score).collect::<Vec<_>>()
    };
    let points = roc(&scores(false), &scores(true)).iter().map(|at| (at.false_rejects, at.detected)).collect();
    let set = judged.evidence.figures(&[Figure::FalseRejects, Figure::Misses]);
    Roc { colour, points, mark: set[0].zip(set[1]).map(|(false_rejects, misses)| (false_rejects, 1.0 - misses)) }
}

fn overlays(judged: &[Judged]) -> String {
    let mut html = String::from("<div class=\"gallery wide\">");
    for Judged { class, pictures, .. } in judged {
        for picture in pictures {
            let _ = write!(
                html,
                "<figure><img alt=\"\" src=\"{}\"><figcaption>{}: {}, {} &middot; score {:.2}, {}</figcaption></figure>",
                picture.source,
                escaped(class),
                picture.what,
                escaped(&picture.file),
                picture.score,
                if picture.rejected { "rejected" } else { "passed" }
            );
        }
    }
    html + "</div><p class=\"note\">Blue is below the threshold, yellow at it, red twice as high; the frame is the verdict.</p>"
}

fn confusions(runs: &[Run]) -> String {
    let told = each(
        runs,
        |run| &run.seen,
        |seen| {
            ["good", "defective"].iter().zip(&seen.confusion).map(|(kind, counts)| confusion(kind, counts)).collect()
        },
    );
    let names = runs.first().map_or(&[][..], Run::classes);
    let legend = names.iter().enumerate().map(|(c, name)| format!("{}: {}", c + 1, escaped(name))).collect::<Vec<_>>();
    format!(
        "{told}<p class=\"note\">Products: {}. Rows: what an image shows; columns: the product whose main centers make its latents likeliest. \
         Where all products have one center, as with a single one, the last is taken.</p>",
        legend.join(", ")
    )
}

fn confusion(kind: &str, counts: &Array2<usize>) -> String {
    let right = counts.diag().sum();
    let mut html = format!("<p>{kind}: {right} of {} right</p><table><tr><th>", counts.sum());
    (0..counts.ncols()).for_each(|column| html.push_str(&format!("<th class=\"n\">{}", column + 1)));
    for (row, of_row) in counts.outer_iter().enumerate() {
        let _ = write!(html, "<tr><th>{}", row + 1);
        of_row.iter().for_each(|count| html.push_str(&format!("<td class=\"n\">{count}")));
    }
    html + "</table>"
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::latents::all_centers;

    use super::*;

    #[test]
    fn distances_between_centers_are_told_within_and_between_products() {
        let centers = LevelCenters {
            mu: array![[0.0, 0.0], [12.0, 0.0]],
            dmu: array![[[3.0, 4.0]], [[0.0, 1.0]]],
            psi: array![0.0, 0.0],
            psi_in: array![[0.0, 0.0], [0.0, 0.0]],
        };
        let shown = Shown { centers: all_centers(&centers), of_class: 2, note: "" };
        let distances = shown.distances();
        assert_eq!((distances[[0, 1]], distances[[1, 0]], distances[[0, 2]]), (5.0, 5.0, 12.0));
        let html = in_numbers(&["nut".into(), "cap".into()], &distances, 2, &centers);
        assert!(html.contains("<tr><td>nut<td class=\"n\">5.000<td class=\"n\">12.000<td>cap"), "{html}");
        assert!(html.contains("<tr><td>cap<td class=\"n\">1.000<td class=\"n\">12.000<td>nut"), "{html}");
        let picture = matrix(&distances, 13.0);
        assert_eq!((picture.dimensions(), picture.get_pixel(0, 0).0), ((16, 16), [255; 3]));
        assert!(picture.get_pixel(8, 0).0[0] < picture.get_pixel(4, 0).0[0]);
    }
}
