//! `hgad-train compare`.

use std::path::PathBuf;

use hgad::evaluate::figures::Values;
use hgad::{Error, Result};

use crate::compare::{Compared, FIGURES, Ground, measure};

const EXAMPLES: &str = r"Examples:
  # Three methods on the same features and parts (hgad-train train --method)
  hgad-train compare models/hgad models/padim models/memory \
    --images parts --test parts

  # Is an 8-bit bundle as good, for fewer false rejects?
  hgad-train compare models/hgad models/hgad-int8 --images parts \
    --test parts --target-frr 0.002

hgad eval --against tells whether two bundles differ by more than chance.

Exit codes: 0 done, 2 wrong use, 3 a device or file failed.";

/// Compare several bundles on the same parts.
///
/// Each is calibrated for each product on the normal images that it was not trained on, then it judges the test images. The table
/// has areas under the ROC and average precisions of images and pixels; misses and false rejects at the calibrated
/// thresholds, in percent; the bundle's size; and what a frame takes on one core of this machine. Test images chose
/// nothing here: but whoever takes the best row has chosen by them, and should look at fresh ones.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CompareArgs {
    /// The bundles: folders that hgad-train wrote, of the same products.
    #[arg(value_name = "BUNDLE", required = true)]
    bundles: Vec<PathBuf>,
    /// The folder that the models were trained from: one folder per product, each with train/good.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// A folder with one folder per product, each with test/good and test/KIND-OF-DEFECT.
    #[arg(long, value_name = "DIR")]
    test: PathBuf,
    /// The false-reject rate that thresholds are calibrated for.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    target_frr: f64,
    /// Every N-th normal image was left out of training, where a bundle does not tell.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
}

pub fn run(args: &CompareArgs) -> Result<()> {
    let ground = Ground {
        images: &args.images,
        test: &args.test,
        hold_out: args.hold_out.map(usize::from),
        frr: args.target_frr,
    };
    let mut compared = Vec::<Compared>::new();
    for bundle in &args.bundles {
        log::info!("measuring {}", bundle.display());
        let row = measure(bundle, &ground)?;
        if let Some(first) = compared.first().filter(|first| first.classes != row.classes) {
            return Err(Error::usage(format!("{} is of other products", bundle.display())).because(format!(
                "{} instead of {}",
                row.classes.join(", "),
                first.classes.join(", ")
            )));
        }
        compared.push(row);
    }
    hgad::print::line(table(&args.bundles, &compared).trim_end())
}

/// A table of the means, and one of every product.
fn table(bundles: &[PathBuf], compared: &[Compared]) -> String {
    let name = |bundle: &PathBuf| bundle.file_name().unwrap_or(bundle.as_os_str()).to_string_lossy().into_owned();
    let names = bundles.iter().map(name).collect::<Vec<_>>();
    let classes = compared.first().map_or(&[][..], |first| &first.classes);
    let width = names.iter().chain(classes).map(|name| name.chars().count()).max().unwrap_or(0).max(4);
    let columns = ["AUROC", "AP", "pixels", "AP", "misses", "rejects"].map(|title| format!("  {title:>7}")).concat();
    let mut text = format!("{:width$}{columns}  {:>6}  {:>6}\n", "mean", "MB", "ms");
    for (name, row) in names.iter().zip(compared) {
        let size = row.bytes as f64 / 1e6;
        text += &format!("{name:width$}{}  {size:6.1}  {:6.1}\n", cells(&row.mean), row.frame_ms);
    }
    for (c, class) in classes.iter().enumerate() {
        text += &format!("\n{class:width$}{columns}\n");
        for (name, row) in names.iter().zip(compared) {
            text += &format!("{name:width$}{}\n", cells(&row.of_classes[c]));
        }
    }
    text
}

fn cells(values: &Values) -> String {
    let cell = |(figure, value): (&hgad::evaluate::figures::Figure, &Option<f64>)| match value {
        None => format!("  {:>7}", "-"),
        Some(value) if figure.is_rate() => format!("  {:7.1}", 100.0 * value),
        Some(value) => format!("  {value:7.4}"),
    };
    FIGURES.iter().zip(values).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_a_row_in_every_table() {
        let row = |misses| Compared {
            classes: vec!["cap".into(), "left nut".into()],
            of_classes: vec![
                vec![Some(0.9), Some(0.8), None, None, Some(misses), Some(0.0)],
                vec![Some(1.0), Some(0.5), Some(0.75), Some(0.25), Some(0.5), Some(0.015)],
            ],
            mean: vec![Some(0.95), Some(0.65), Some(0.75), Some(0.25), Some(0.3), Some(0.0075)],
            bytes: 12_340_000,
            frame_ms: 8.75,
        };
        let table = table(&["models/a".into(), "b".into()], &[row(0.125), row(0.25)]);
        let lines = table.lines().collect::<Vec<_>>();
        assert_eq!(lines[1], "a          0.9500   0.6500   0.7500   0.2500     30.0      0.8    12.3     8.8");
        assert_eq!(lines[5], "a          0.9000   0.8000        -        -     12.5      0.0");
        assert_eq!(lines[6], "b          0.9000   0.8000        -        -     25.0      0.0");
        assert_eq!(lines[8], "left nut    AUROC       AP   pixels       AP   misses  rejects");
        assert!(lines.len() == 11 && lines.iter().all(|line| line.chars().count() <= 80));
    }
}
