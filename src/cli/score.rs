//! `hgad score`.

use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::Serialize;

use super::heatmaps::Heatmaps;
use crate::bundle::{Bundle, ScoreReference};
use crate::calibrate::Calibration;
use crate::heap::Starting;
use crate::inspect::overlay::{Paint, beside};
use crate::inspect::{Inspection, Inspector};
use crate::{Error, Result, dataset, print};

const EXAMPLES: &str = r"Examples:
  # A table, and a picture of every image with its anomaly map
  hgad score --model models/line3 --calibration calibration/cap.toml \
    --class cap --heatmap pictures new-images

  # For scripts: one JSON object a line; exit code 1 when one is rejected
  hgad score --model models/line3 --calibration calibration/cap.toml \
    --class cap --json --fail-on-reject new-images/000.png";

/// Score images and, with a calibration, judge them
///
/// Without --calibration the score is relative to the normal parts that training held out, and there is no verdict.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ScoreArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// The class's calibration, for a threshold and verdicts
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// The product
    #[arg(long, value_name = "NAME")]
    class: String,
    /// Print one JSON object per image and line: image, score, threshold, verdict
    #[arg(long)]
    json: bool,
    /// Write a picture of every image into this folder: the image, and beside it the same under its anomaly map
    #[arg(long, value_name = "DIR")]
    heatmap: Option<PathBuf>,
    /// Exit with 1 when an image is rejected
    #[arg(long, requires = "calibration")]
    fail_on_reject: bool,
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    image: String,
    score: f32,
    threshold: Option<f32>,
    verdict: Option<&'static str>,
    /// Another product that the image clearly shows.
    resembles: Option<String>,
}

/// What the images are judged with.
struct Judge {
    inspector: Inspector,
    class: usize,
    classes: Vec<String>,
    reference: ScoreReference,
    calibration: Option<Calibration>,
    /// Whether the user knows that the images are not of the calibration's shape.
    warned: bool,
}

pub fn run(args: ScoreArgs) -> Result<()> {
    let images = expand(&args.images)?;
    let heatmaps = args.heatmap.as_deref().map(|folder| Heatmaps::new(folder, &images)).transpose()?;
    let mut judge = Judge::new(&args)?;
    let width = images.iter().map(|path| path.display().to_string().chars().count()).max().unwrap_or(0).max(5);
    if !args.json {
        print::line(format_args!("{:width$}  {:>12}  {:>12}  verdict", "image", "score", "threshold"))?;
    }
    let (mut rejected, mut first) = (0, None);
    for path in &images {
        match judge.row(path, heatmaps.as_ref()) {
            Ok(row) => {
                rejected += usize::from(row.verdict == Some("reject"));
                print_row(&row, args.json, width)?;
            }
            // The first one ends the program, which tells of it.
            Err(error) if first.is_none() => first = Some(error),
            Err(error) => print::failure(&error),
        }
    }
    if let Some(error) = first {
        return Err(error);
    }
    if args.fail_on_reject && rejected > 0 {
        return Err(Error::check(format!("{rejected} of {} rejected", print::counted(images.len() as u64, "image"))));
    }
    Ok(())
}

impl Judge {
    fn new(args: &ScoreArgs) -> Result<Self> {
        let _starting = Starting::begin();
        let bundle = Bundle::open(&args.model)?;
        let class = bundle.manifest.class_index(&args.class)?;
        let calibration =
            args.calibration.as_deref().map(|path| Calibration::open(path).map(|(c, _)| c)).transpose()?;
        if let Some(calibration) = &calibration {
            calibration.check_bundle(&bundle)?;
            if calibration.class != args.class {
                return Err(Error::usage(format!(
                    "the calibration is of '{}', not of '{}'",
                    calibration.class, args.class
                )));
            }
        }
        let reference = match &calibration {
            Some(calibration) => calibration.reference.clone(),
            None => bundle.centers.references[class].clone(),
        };
        Ok(Judge {
            inspector: Inspector::new(&bundle)?,
            class,
            classes: bundle.manifest.classes,
            reference,
            calibration,
            warned: false,
        })
    }

    fn row(&mut self, path: &Path, heatmaps: Option<&Heatmaps>) -> Result<Row> {
        let image = dataset::read_rgb(path)?;
        if let Some(Err(error)) = self.calibration.as_ref().map(|c| c.check_frame(image.dimensions()))
            && !std::mem::replace(&mut self.warned, true)
        {
            log::warn!("{}: {}", path.display(), error.report());
        }
        let inspection = self.inspector.inspect(&image, self.class, &self.reference)?;
        let other = inspection.resembles.map(|other| self.classes[other].clone());
        let rejects = |calibration: &Calibration| other.is_some() || calibration.rejects(inspection.score);
        let rejected = self.calibration.as_ref().map(rejects);
        if let Some(heatmaps) = heatmaps {
            self.paint(&heatmaps.place(path)?, &image, &inspection, rejected)?;
        }
        Ok(Row {
            image: path.display().to_string(),
            score: inspection.score,
            threshold: self.calibration.as_ref().map(|calibration| calibration.threshold),
            verdict: rejected.map(|rejected| if rejected { "reject" } else { "pass" }),
            resembles: other,
        })
    }

    fn paint(&self, file: &Path, image: &RgbImage, inspection: &Inspection, rejected: Option<bool>) -> Result<()> {
        let full = match &self.calibration {
            Some(calibration) => 2.0 * calibration.threshold,
            None => inspection.map.iter().copied().fold(0.0, f32::max),
        };
        let picture = beside(image, &inspection.map, Paint { full, rejected });
        picture
            .save(file)
            .map_err(|error| Error::device(format!("picture {} cannot be written", file.display())).because(error))
    }
}

fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => images.extend(dataset::images(path)?),
            false => images.push(path.clone()),
        }
    }
    Ok(images)
}

fn print_row(row: &Row, json: bool, width: usize) -> Result<()> {
    if json {
        return print::line(serde_json::to_string(row).expect("a row holds strings and finite numbers"));
    }
    let threshold = row.threshold.map_or_else(|| "-".to_owned(), |threshold| print::fitted(threshold, 6, 12));
    let verdict = row.verdict.unwrap_or("-");
    let other = row.resembles.as_ref().map_or_else(String::new, |other| format!(" (looks like {other})"));
    print::line(format_args!(
        "{:width$}  {:>12}  {threshold:>12}  {verdict}{other}",
        row.image,
        print::fitted(row.score, 6, 12)
    ))
}
