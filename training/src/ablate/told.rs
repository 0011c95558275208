//! The tables as text, CSV, JSON and HTML.

use std::fmt::Write;

use hgad::digest::Digest;
use hgad::page::{escaped, head, section};
use serde_json::{Value, json};

use super::table::{Row, Table};
use super::{Cell, Figures, Plan};
use crate::fit::Recipe;

/// The cells of one row, seed by seed; fewer than the seeds where not all are finished.
fn cells<'c>(plan: &Plan, row: &Row, cells: &'c [Cell]) -> Vec<&'c Cell> {
    let of_seed = |seed: &u64| cells.iter().find(|cell| cell.recipe == Recipe { seed: *seed, ..row.recipe });
    plan.seeds.iter().filter_map(of_seed).collect()
}

/// Mean and, of two or more, standard deviation over the seeds (of a sample: over n - 1).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    mean: f64,
    deviation: Option<f64>,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Spread { mean, deviation })
    }

    /// In percent, as the slides have it.
    fn text(spread: Option<Self>) -> String {
        match spread {
            None => "-".to_owned(),
            Some(Spread { mean, deviation: None }) => format!("{:.1}", 100.0 * mean),
            Some(Spread { mean, deviation: Some(deviation) }) => {
                format!("{:.1} +- {:.1}", 100.0 * mean, 100.0 * deviation)
            }
        }
    }
}

/// Detection and localisation of a row, over its seeds.
fn spreads(row: &Row, of_row: &[&Cell]) -> [Option<Spread>; 2] {
    let means = of_row.iter().map(|cell| cell.mean(row.criterion)).collect::<Vec<_>>();
    let over = |figure: fn(&Figures) -> Option<f64>| Spread::of(&means.iter().filter_map(figure).collect::<Vec<_>>());
    [over(|figures| figures.image), over(|figures| figures.pixel)]
}

/// Of how many seeds there are figures, and of how many there are none because they diverged.
fn seeds(of_row: &[&Cell]) -> (usize, usize) {
    let diverged = of_row.iter().filter(|cell| cell.diverged.is_some()).count();
    (of_row.len() - diverged, diverged)
}

fn seeds_text(of_row: &[&Cell]) -> String {
    match seeds(of_row) {
        (seeds, 0) => seeds.to_string(),
        (seeds, diverged) => format!("{seeds}, {diverged} diverged"),
    }
}

/// As the slides print it.
pub fn text(plan: &Plan, finished: &[Cell]) -> String {
    let mut text = String::new();
    for (table, rows) in &plan.tables {
        // Writing into a text does not fail, here and below.
        let _ = writeln!(text, "{}", table.title());
        let widths = table.headings().iter().map(|heading| heading.len().max(5) + 2).collect::<Vec<_>>();
        let padded = |cells: &mut dyn Iterator<Item = &str>| {
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<String>()
        };
        let _ =
            writeln!(text, "{}{:>12}  {:>12}  seeds", padded(&mut table.headings().iter().copied()), "Det.", "Loc.");
        for row in rows {
            let of_row = cells(plan, row, finished);
            let [image, pixel] = spreads(row, &of_row).map(Spread::text);
            let columns = padded(&mut row.columns.iter().map(String::as_str));
            let _ = writeln!(text, "{columns}{image:>12}  {pixel:>12}  {:>5}", seeds_text(&of_row));
        }
        text.push('\n');
    }
    text.push_str("Det., Loc.: areas under the ROC of images and of pixels in percent, mean over the products and +- deviation over the seeds.\n");
    text
}

/// One line per row of every table, for programs.
pub fn csv(plan: &Plan, finished: &[Cell]) -> String {
    let mut text = String::from(
        "table,row,criterion,seeds,image_auroc,image_auroc_deviation,pixel_auroc,pixel_auroc_deviation,diverged\n",
    );
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for (table, rows) in &plan.tables {
        for row in rows {
            let of_row = cells(plan, row, finished);
            let spreads = spreads(row, &of_row);
            let numbers = spreads.map(|spread| {
                let deviation = spread.and_then(|spread| spread.deviation);
                format!("{},{}", number(spread.map(|spread| spread.mean)), number(deviation))
            });
            let criterion = row.criterion.name();
            let (seeds, diverged) = seeds(&of_row);
            let _ = writeln!(
                text,
                "{},{},{criterion},{seeds},{},{diverged}",
                letter(*table),
                name(*table, row),
                numbers.join(",")
            );
        }
    }
    text
}

/// Everything, cell by cell, for programs. How long cells took is not in it: it does not depend on the settings.
pub fn json(plan: &Plan, settings: Digest, finished: &[Cell]) -> Value {
    let of_cell = |row: &Row, cell: &Cell| {
        let classes = cell.classes.iter().zip(cell.figures.get(&row.criterion).into_iter().flatten());
        let classes = classes.map(|(class, figures)| (class.clone(), json!(figures)));
        json!({
            "seed": cell.recipe.seed,
            "settings": cell.settings.to_string(),
            "diverged": cell.diverged,
            "images": { "train": cell.images[0], "test": cell.images[1] },
            "mean": cell.mean(row.criterion),
            "classes": classes.collect::<serde_json::Map<_, _>>(),
        })
    };
    let spread =
        |spread: Option<Spread>| spread.map(|spread| json!({"mean": spread.mean, "deviation": spread.deviation}));
    let of_row = |table: Table, row: &Row| {
        let of_row = cells(plan, row, finished);
        let [image, pixel] = spreads(row, &of_row);
        json!({
            "row": name(table, row),
            "criterion": row.criterion,
            "recipe": row.recipe,
            "image_auroc": spread(image),
            "pixel_auroc": spread(pixel),
            "cells": of_row.iter().map(|cell| of_cell(row, cell)).collect::<Vec<_>>(),
        })
    };
    let tables = plan.tables.iter().map(|(table, rows)| {
        let rows = rows.iter().map(|row| of_row(*table, row)).collect::<Vec<_>>();
        json!({ "table": letter(*table), "title": table.title(), "rows": rows })
    });
    json!({ "format_version": 2, "settings": settings.to_string(), "seeds": plan.seeds, "tables": tables.collect::<Vec<_>>() })
}

/// A page that needs nothing else.
pub fn html(plan: &Plan, finished: &[Cell]) -> String {
    let made = concat!("made by hgad-train ", env!("CARGO_PKG_VERSION"));
    let mut page = head("Ablation", "Ablation", made);
    for (table, rows) in &plan.tables {
        let mut content = String::from("<table><tr>");
        table.headings().iter().for_each(|heading| content.push_str(&format!("<th>{heading}")));
        content.push_str("<th class=\"n\">Det.<th class=\"n\">Loc.<th class=\"n\">seeds</tr>");
        for row in rows {
            let of_row = cells(plan, row, finished);
            let columns = row.columns.iter().map(|column| format!("<td>{}", escaped(column))).collect::<String>();
            let [image, pixel] = spreads(row, &of_row).map(|spread| Spread::text(spread).replace("+-", "&plusmn;"));
            let _ = write!(
                content,
                "<tr>{columns}<td class=\"n\">{image}<td class=\"n\">{pixel}<td class=\"n\">{}</tr>",
                seeds_text(&of_row)
            );
        }
        section(&mut page, table.title(), &(content + "</table>" + &by_class(plan, rows, finished)));
    }
    page.push_str(
        "<p class=\"note\">Det., Loc.: areas under the ROC of images and of pixels in percent, mean over the products, and the deviation over the \
         seeds. SGC, FMC, ICG: a single center, fixed centers, learned centers of the products; MIM: mutual information and entropy; Intra: \
         centers within the products.</p>",
    );
    page + "</body></html>\n"
}

/// The same of every product: images and pixels, mean over the seeds.
fn by_class(plan: &Plan, rows: &[Row], finished: &[Cell]) -> String {
    let Some(classes) = finished.first().map(|cell| &cell.classes) else { return String::new() };
    let names = classes.iter().map(|class| format!("<th class=\"n\">{}", escaped(class))).collect::<String>();
    let mut html = format!("<h3>By product</h3><table><tr><th>row{names}</tr>");
    for row in rows {
        let of_row = cells(plan, row, finished);
        let of_class = |class: usize| {
            let figures =
                of_row.iter().filter_map(|cell| cell.figures.get(&row.criterion)?.get(class)).collect::<Vec<_>>();
            let over = |figure: fn(&Figures) -> Option<f64>| {
                let values = figures.iter().filter_map(|figures| figure(figures)).collect::<Vec<_>>();
                Spread::text(Spread::of(&values).map(|spread| Spread { deviation: None, ..spread }))
            };
            format!("<td class=\"n\">{} / {}", over(|figures| figures.image), over(|figures| figures.pixel))
        };
        let cells = (0..classes.len()).map(of_class).collect::<String>();
        let _ = write!(html, "<tr><td>{}{cells}</tr>", escaped(&row.columns.join(" ")));
    }
    html + "</table>"
}

fn letter(table: Table) -> &'static str {
    ["a", "b", "c", "d"][table as usize]
}

/// What a row is called where several tables are.
pub fn label(table: Table, row: &Row) -> String {
    format!("{} {}", letter(table), name(table, row))
}

/// What a row is called in files: of switches those that are on, of numbers all.
fn name(table: Table, row: &Row) -> String {
    let columns = table.headings().iter().zip(&row.columns);
    let told = columns.filter(|(_, column)| *column != "-").map(|(heading, column)| match column.as_str() {
        "x" => (*heading).to_owned(),
        number => format!("{heading}={number}"),
    });
    told.collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_and_seeds_a_spread() {
        let whole = Recipe::default();
        let names = |table: Table| table.rows(&whole).iter().map(|row| name(table, row)).collect::<Vec<_>>();
        assert_eq!(names(Table::A), ["SGC", "FMC", "ICG", "ICG+MIM", "FMC+Intra", "ICG+MIM+Intra"]);
        assert_eq!(names(Table::D)[5], "lambda1=0.5+lambda2=100");
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::text(Spread::of(&[0.5])), "50.0");
        // Deviations of 0.02 about 0.92, over n - 1.
        assert_eq!(Spread::text(Spread::of(&[0.90, 0.92, 0.94])), "92.0 +- 2.0");
    }
}
