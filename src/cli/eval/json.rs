//! `hgad eval --json`: what `docs/evaluation.md` promises.

use serde_json::{Map, Value, json};

use super::{Against, Report};
use crate::evaluate::bootstrap::{CONFIDENCE, Resampling};
use crate::evaluate::figures::{Figure, Values, difference};
use crate::evaluate::{Evidence, Judged};

/// Everything in one object.
pub fn report(figures: &[Figure], report: &Report, against: Option<&Against>, resampling: Resampling) -> Value {
    let mut all = rows(figures, report);
    all["resamples"] = json!({ "count": resampling.count, "seed": resampling.seed, "confidence": CONFIDENCE });
    if let Some(against) = against {
        let mut other = rows(figures, &against.report);
        for (row, name) in report.names().into_iter().enumerate() {
            let values = difference(&report.values[row], &against.report.values[row]);
            let place = match row < report.classes.len() {
                true => &mut other["classes"][name],
                false => &mut other["mean"],
            };
            let interval = |place, _| against.differences.interval(row, place);
            place["difference"] = with_intervals(figures, &values, interval);
        }
        other["model"] = against.model.display().to_string().into();
        all["against"] = other;
    }
    all
}

fn rows(figures: &[Figure], report: &Report) -> Value {
    let row = |row: usize| {
        let interval = |place, figure| report.interval(row, place, figure);
        with_intervals(figures, &report.values[row], interval)
    };
    let class = |(index, class): (usize, &Evidence)| {
        let mut object = counts(std::slice::from_ref(class));
        object["threshold"] = class.threshold.into();
        merge(&mut object, row(index));
        object["missed"] = class.mistakes(true).map(mistake).collect();
        object["rejected"] = class.mistakes(false).map(mistake).collect();
        (class.class.clone(), object)
    };
    let mut mean = counts(&report.classes);
    merge(&mut mean, row(report.classes.len()));
    json!({ "classes": report.classes.iter().enumerate().map(class).collect::<Map<_, _>>(), "mean": mean })
}

/// Numbers of images and masks, of all classes together.
fn counts(classes: &[Evidence]) -> Value {
    let sum = |count: fn(&Evidence) -> usize| classes.iter().map(count).sum::<usize>();
    json!({
        "good": sum(|class| class.counts().0),
        "defective": sum(|class| class.counts().1),
        "masks": sum(|class| class.masks.used),
        "empty_masks": sum(|class| class.masks.empty),
        "regions": sum(|class| class.masks.regions),
    })
}

/// `interval` gives that of a figure by its place among `figures`.
fn with_intervals(
    figures: &[Figure],
    values: &Values,
    interval: impl Fn(usize, Figure) -> Option<(f64, f64)>,
) -> Value {
    let by_key = figures.iter().zip(values).map(|(figure, value)| (figure.key(), json!(value)));
    let mut object = by_key.collect::<Map<_, _>>();
    let interval = |(place, figure): (usize, &Figure)| (figure.key(), json!(interval(place, *figure)));
    object.insert("intervals".into(), figures.iter().enumerate().map(interval).collect::<Map<_, _>>().into());
    object.into()
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn mistake(image: &Judged) -> Value {
    json!({ "image": image.image, "score": image.score, "resembles": image.resembles })
}
