//! `hgad eval` for people: tables of at most 80 columns, and the images that are judged wrongly.

use super::{Against, Report};
use crate::evaluate::bootstrap::{CONFIDENCE, Resampling};
use crate::evaluate::figures::{Figure, difference};
use crate::evaluate::{Evidence, Judged};
use crate::{Result, print};

/// A column: its heading, its width, and what a row of the report has there.
type Column<'r> = (String, usize, Box<dyn Fn(usize) -> String + 'r>);

/// Prints all figures.
pub fn print(figures: &[Figure], report: &Report, resampling: Resampling) -> Result<()> {
    use Figure::*;
    let place = |wanted: Figure| figures.iter().position(|figure| *figure == wanted);
    let cell = |row: usize, figure: Figure| -> String {
        place(figure).map_or_else(|| "-".into(), |place| shown(figure, report.values[row][place]))
    };
    let plain = |title: &str, figure| -> Column {
        (title.to_owned(), title.len().max(6), Box::new(move |row| cell(row, figure)))
    };
    let ranged = |title: &str, figure: Figure| -> Column {
        let whole = move |row| {
            let interval = place(figure).and_then(|place| report.interval(row, place, figure));
            cell(row, figure) + &interval.map_or_else(String::new, |interval| range(figure, interval))
        };
        let width = if resampling.count == 0 {
            6
        } else if figure.is_rate() {
            20
        } else {
            21
        };
        (title.to_owned(), title.len().max(width), Box::new(whole))
    };
    let count = |title: &str, of: fn(&Evidence) -> usize| -> Column {
        let of = move |row| match report.classes.get(row) {
            Some(class) => of(class).to_string(),
            None => report.classes.iter().map(of).sum::<usize>().to_string(),
        };
        (title.to_owned(), title.len().max(5), Box::new(of))
    };
    let threshold = |row: usize| match report.classes.get(row) {
        Some(class) => print::fitted(class.threshold, 4, 10),
        None => "-".into(),
    };
    let images = [
        count("good", |class| class.counts().0),
        count("defective", |class| class.counts().1),
        ranged("AUROC", ImageAuroc),
        plain("AP", ImageAp),
        plain("F1-max", ImageF1Max),
    ];
    print_table("images", &images, report)?;
    let rates = figures.iter().filter(|figure| matches!(figure, MissesAt(_)));
    let misses = rates.map(|figure| ranged(&title(*figure), *figure)).collect::<Vec<_>>();
    print_table("misses, %", &misses, report)?;
    let calibrated: [Column; 3] = [
        ("threshold".into(), 10, Box::new(threshold)),
        ranged("false rejects, %", FalseRejects),
        ranged("misses, %", Misses),
    ];
    print_table("calibrated", &calibrated, report)?;
    let pixels = [
        count("masks", |class| class.masks.used),
        count("defects", |class| class.masks.regions),
        plain("AUROC", PixelAuroc),
        plain("AP", PixelAp),
        plain("F1-max", PixelF1Max),
        ranged("AUPRO", PixelAupro),
    ];
    print_table("pixels", &pixels, report)?;
    if resampling.count > 0 {
        print::line(format_args!(
            "[ ]: {}% of {}, of calibrated classes exact; others' with --json",
            100.0 * CONFIDENCE,
            print::counted(resampling.count, "resample"),
        ))?;
    }
    Ok(())
}

fn print_table(title: &str, columns: &[Column], report: &Report) -> Result<()> {
    let names = report.names();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("calibrated".len());
    let line = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(|column| format!("  {:>1$}", cell(column), column.1)).collect::<String>();
        print::line(format_args!("{name:width$}{cells}"))
    };
    line(title, &|column| column.0.clone())?;
    names.iter().enumerate().try_for_each(|(row, name)| line(name, &|column| (column.2)(row)))?;
    print::line("")
}

/// Prints the images that are judged wrongly, at most `most` of either kind and class: the clearest mistakes first.
pub fn print_mistakes(report: &Report, most: usize) -> Result<()> {
    for class in &report.classes {
        let (good, defective) = class.counts();
        for (of, what, label) in [(defective, "missed", true), (good, "rejected", false)] {
            let mut images = class.mistakes(label).collect::<Vec<_>>();
            if images.is_empty() || most == 0 {
                continue;
            }
            let rank = |image: &&Judged| crate::evaluate::curve::key(image.score);
            images.sort_by_key(|image| if label { rank(image) } else { u32::MAX - rank(image) });
            let kind = if label { "defective" } else { "good" };
            let threshold = print::fitted(class.threshold, 4, 10);
            print::line(format_args!(
                "\n{}: {what} {} of {of} {kind} images at the threshold {threshold}",
                class.class,
                images.len()
            ))?;
            for image in images.iter().take(most) {
                let other = image.resembles.as_ref().map_or_else(String::new, |other| format!(" (looks like {other})"));
                print::line(format_args!(
                    "  {:>10}  {}{other}",
                    print::fitted(image.score, 4, 10),
                    image.image.display()
                ))?;
            }
            if images.len() > most {
                print::line(format_args!("  {:>10}  and {} more (--list {})", "", images.len() - most, images.len()))?;
            }
        }
    }
    Ok(())
}

/// Prints how the means differ from another bundle's.
pub fn print_difference(figures: &[Figure], report: &Report, against: &Against) -> Result<()> {
    let row = report.classes.len();
    let (ours, theirs) = (&report.values[row], &against.report.values[row]);
    let differences = difference(ours, theirs);
    print::line(format_args!("\nagainst {}, means of the classes", against.model.display()))?;
    print::line(format_args!("{:24}  {:>6}  {:>7}  {:>10}", "", "this", "against", "difference"))?;
    for (place, figure) in figures.iter().enumerate() {
        let interval = against.differences.interval(row, place);
        // Of areas more is better, of rates less.
        let verdict = match interval {
            Some((low, high)) if low > 0.0 || high < 0.0 => match (low > 0.0) == figure.is_rate() {
                true => "  worse",
                false => "  better",
            },
            _ => "",
        };
        let unit = if figure.is_rate() { ", %" } else { "" };
        print::line(format_args!(
            "{:24}  {:>6}  {:>7}  {:>10}{}{verdict}",
            format!("{}{unit}", label(*figure)),
            shown(*figure, ours[place]),
            shown(*figure, theirs[place]),
            shown(*figure, differences[place]),
            interval.map_or_else(String::new, |interval| range(*figure, interval)),
        ))?;
    }
    Ok(())
}

fn title(figure: Figure) -> String {
    match figure {
        Figure::MissesAt(rate) => format!("{}% false rejects", percent(rate)),
        figure => label(figure),
    }
}

/// A share in percent without the digits that binary floats add: 0.07 is 7, not 7.000000000000001.
fn percent(share: f64) -> f64 {
    (share * 1e12).round() / 1e10
}

fn label(figure: Figure) -> String {
    match figure {
        Figure::ImageAuroc => "image AUROC".into(),
        Figure::ImageAp => "image AP".into(),
        Figure::ImageF1Max => "image F1-max".into(),
        Figure::MissesAt(rate) => format!("misses at {}%", percent(rate)),
        Figure::FalseRejects => "false rejects".into(),
        Figure::Misses => "misses".into(),
        Figure::PixelAuroc => "pixel AUROC".into(),
        Figure::PixelAp => "pixel AP".into(),
        Figure::PixelF1Max => "pixel F1-max".into(),
        Figure::PixelAupro => "pixel AUPRO".into(),
    }
}

fn shown(figure: Figure, value: Option<f64>) -> String {
    match (value, figure.is_rate()) {
        (None, _) => "-".into(),
        (Some(value), true) => format!("{:.1}", 100.0 * value),
        (Some(value), false) => format!("{value:.4}"),
    }
}

fn range(figure: Figure, (low, high): (f64, f64)) -> String {
    match figure.is_rate() {
        true => format!(" [{:.1}, {:.1}]", 100.0 * low, 100.0 * high),
        false => format!(" [{low:.3}, {high:.3}]"),
    }
}
