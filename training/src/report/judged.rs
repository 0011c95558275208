//! A bundle's verdicts on test images.

use std::path::Path;

use hgad::bundle::Bundle;
use hgad::calibrate::Calibration;
use hgad::dataset::{ProductData, products, read_rgb};
use hgad::evaluate::Evidence;
use hgad::inspect::Inspector;
use hgad::inspect::overlay::{Paint, beside};
use hgad::page::photograph;
use hgad::{Error, Result};

use super::Request;
use crate::compare::judge as judge_class;
use crate::split::Split;

/// Image and overlay side by side are no wider than this.
const WIDTH: u32 = 520;

/// One product's test images.
pub(super) struct Judged {
    pub class: String,
    pub calibration: Calibration,
    pub evidence: Evidence,
    /// What the page shows of them: the defects that are found best, in the middle and worst, and the good part that is worst.
    pub pictures: Vec<Picture>,
}

/// An image beside its overlay.
pub(super) struct Picture {
    /// What it is an example of.
    pub what: &'static str,
    pub file: String,
    pub score: f32,
    pub rejected: bool,
    pub source: String,
}

/// Calibrates every product on the normal images that training did not see, and judges its test images.
pub(super) fn judge(bundle: &Bundle, test: &Path, request: &Request) -> Result<Vec<Judged>> {
    let classes = &bundle.manifest.classes;
    let split = Split::of(bundle, request.images.unwrap_or(test), request.hold_out)?;
    let tests = products(test, Some(classes))?;
    let tests = tests.iter().map(ProductData::test).collect::<Result<Vec<_>>>()?;
    let mut inspector = Inspector::new(bundle)?;
    let mut of_class = |class: usize| {
        let (calibration, evidence) =
            judge_class(bundle, &classes[class], &split.held[class], &tests[class], request.frr)?;
        let pictures = pictures(&mut inspector, class, &calibration, &evidence)?;
        Ok(Judged { class: classes[class].clone(), calibration, evidence, pictures })
    };
    (0..classes.len()).map(&mut of_class).collect()
}

fn pictures(
    inspector: &mut Inspector,
    class: usize,
    calibration: &Calibration,
    evidence: &Evidence,
) -> Result<Vec<Picture>> {
    let by_score = |defective: bool| {
        let mut images = evidence.images.iter().filter(|image| image.defective == defective).collect::<Vec<_>>();
        images.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.image.cmp(&b.image)));
        images
    };
    let (defective, good) = (by_score(true), by_score(false));
    let chosen = [
        ("the best found defect", defective.first()),
        ("a median defect", defective.get(defective.len() / 2)),
        ("the worst found defect", defective.last()),
        ("the good part that looks worst", good.first()),
    ];
    let chosen = chosen.into_iter().filter_map(|(what, image)| Some((what, image?)));
    chosen
        .map(|(what, judged)| {
            let image = read_rgb(&judged.image)?;
            let map = inspector.inspect(&image, class, &calibration.reference)?.map;
            let paint = Paint { full: 2.0 * calibration.threshold, rejected: Some(judged.rejected) };
            let source = photograph(&beside(&image, &map, paint), WIDTH);
            Ok(Picture { what, file: short(&judged.image)?, score: judged.score, rejected: judged.rejected, source })
        })
        .collect()
}

/// The file's name with its folder's, which is the kind of defect.
fn short(image: &Path) -> Result<String> {
    let name = image.file_name().ok_or_else(|| Error::device(format!("{} has no name", image.display())))?;
    let kind = image.parent().and_then(Path::file_name).unwrap_or_default();
    Ok(format!("{}/{}", kind.to_string_lossy(), name.to_string_lossy()))
}
