//! What a training run says of itself: in the manifest, and to the person who started it.

use std::path::Path;

use hgad::bundle::Bundle;
use hgad::calibrate::{Aim, FEWEST_PARTS};
use hgad::dataset::GOOD;
use hgad::digest::Digest;
use hgad::{Error, Result};

use super::fitness;
use super::task::Dataset;
use crate::compare::bytes;
use crate::export::{Exported, NetworkLevel};
use crate::methods::Learned;

/// The manifest's `training` table: what is `told` of the method, and the data.
pub fn provenance(data: &Dataset, told: toml::Table) -> toml::Table {
    let products = data.classes.iter().enumerate().map(|(class, name)| {
        let digests = data.images.iter().zip(&data.labels).filter(|(_, label)| **label == class);
        let digests = digests.map(|(image, _)| image.digest.to_string()).collect::<Vec<_>>();
        let product = toml::Table::from_iter([
            ("images".to_owned(), toml::Value::from(digests.len() as i64)),
            ("sha256_of_digests".to_owned(), Digest::of(digests.join("\n")).to_string().into()),
        ]);
        (name.clone(), toml::Value::from(product))
    });
    let mut table = told;
    table.insert("data".to_owned(), toml::Table::from_iter(products).into());
    if let Some(n) = data.hold_out {
        table.insert("hold_out".to_owned(), toml::Value::from(n as i64));
    }
    table
}

/// The summary for people.
pub fn table(data: &Dataset, learned: &Learned, exported: &Exported, out: &Path) -> Result<String> {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    let width = data.classes.iter().map(String::as_str).chain(learned.levels.iter().map(NetworkLevel::tap));
    let width = width.map(|name| name.chars().count()).max().unwrap_or(0).max(8);
    line(format!("{:<width$}{:>8}{:>10}", "class", "images", "held out"));
    for (class, name) in data.classes.iter().enumerate() {
        let held = data.hold_out.map_or("-".to_owned(), |_| data.normals[class].len().to_string());
        line(format!("{name:<width$}{:>8}{held:>10}", data.count(class)));
    }
    // Only flows bring features to a distance of about 1.
    let distances = learned.likelihoods.as_ref().map(|_| {
        let of_levels = exported.from_centers.iter().map(|profile| fitness::farthest(profile).1);
        ("distance", of_levels.collect::<Vec<_>>())
    });
    let columns = learned.figures.iter().chain(&distances).collect::<Vec<_>>();
    let names = columns.iter().map(|(name, _)| format!("{name:>10}")).collect::<String>();
    line(format!("\n{:<width$}{:>10}{names}", "tap", "channels"));
    for (l, level) in learned.levels.iter().enumerate() {
        let numbers = columns.iter().map(|(_, of_levels)| format!("{:>10}", hgad::print::fitted(of_levels[l], 4, 9)));
        let mark = complaint(l, learned, exported).map_or("", |_| "  USELESS");
        line(format!("{:<width$}{:>10}{}{mark}", level.tap(), level.channels(), numbers.collect::<String>()));
    }
    let grids = exported
        .bundle
        .manifest
        .levels
        .iter()
        .map(|level| format!("{} on {}x{}", level.tap, level.width, level.height));
    line(format!("\nlevels  {}", grids.collect::<Vec<_>>().join(", ")));
    if let Some(error) = &exported.weight_error {
        line(format!("\n{error}"));
    }
    line(format!("\nbundle  {} ({})", out.display(), hgad::print::bytes(bytes(out)?)));
    line(format!("digest  {}", exported.bundle.digest));
    Ok(text)
}

/// Why a learned level is of no use, if it is of none.
fn complaint(level: usize, learned: &Learned, exported: &Exported) -> Option<String> {
    let Bundle { manifest, centers, .. } = &exported.bundle;
    let likelihoods = learned.likelihoods.as_ref().map(|of_levels| of_levels[level]);
    let fit = likelihoods.map(|losses| (losses, &exported.from_centers[level]));
    // What is joined has its constants together.
    let measured = level.min(manifest.levels.len() - 1);
    fitness::complaint(measured, &manifest.classes, fit, &centers.references)
}

/// Whether the model is of use.
///
/// # Errors
///
/// A level was not fitted: the error names all such levels.
pub fn check_use(learned: &Learned, exported: &Exported) -> Result<()> {
    let levels = learned.levels.iter().enumerate();
    let useless =
        levels.filter_map(|(l, level)| Some((level.tap(), complaint(l, learned, exported)?))).collect::<Vec<_>>();
    let names = useless.iter().map(|(tap, _)| *tap).collect::<Vec<_>>().join(", ");
    let subject = match useless.len() {
        0 => return Ok(()),
        1 => format!("level {names} is"),
        _ => format!("levels {names} are"),
    };
    let reasons = useless.iter().map(|(tap, why)| format!("{tap}: {why}")).collect::<Vec<_>>();
    Err(Error::check(format!("{subject} of no use: the model will not tell bad parts from good ones"))
        .because(reasons.join("; "))
        .advise(
            "take other taps, from before an activation: what a convolution gives, not what a ReLU or a concatenation of \
             them does (--taps); train longer (--epochs); see that all normal images are of one kind; do not calibrate this \
             bundle",
        ))
}

/// The share of normal parts that a line may reject, where there are parts enough to promise it.
const ASKED_FOR: f64 = 0.01;

/// The commands that come next, one per product, with a rate that so many images can keep.
pub fn next(root: &Path, data: &Dataset, out: &Path) -> String {
    let command = |(class, parts): (&String, &usize)| {
        let images = match data.hold_out {
            Some(n) => {
                let folder = quoted(&root.join(class).join("train").join(GOOD));
                format!("{folder} --hold-out {n} {}", rate(*parts))
            }
            None => "FOLDER-OF-OTHER-NORMAL-IMAGES".to_owned(),
        };
        format!(
            "  hgad calibrate --model {} --class {} \\\n    --images {images} --out {}",
            quoted(out),
            quoted(Path::new(class)),
            quoted(Path::new(&format!("calibration/{class}.toml")))
        )
    };
    let commands = data.classes.iter().zip(&data.parts).map(command).collect::<Vec<_>>().join("\n");
    format!("\nnext, for every class:\n{commands}")
}

/// What to ask of a calibration on so many parts: 1% of false rejects, or the least that they can keep.
fn rate(parts: usize) -> String {
    let aim = Aim { frr: ASKED_FOR, confidence: None };
    let rate = if parts < aim.parts_needed() { aim.least_rate(parts) } else { ASKED_FOR };
    let few = if parts < FEWEST_PARTS { " --few-parts" } else { "" };
    format!("--target-frr {rate}{few}")
}

/// As a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_commands_as_they_are_meant() {
        let (root, out) = (Path::new("my parts/it's here"), Path::new("models/$HOME (2)"));
        let data = Dataset {
            classes: ["nut", "cap; left"].map(str::to_owned).to_vec(),
            images: Vec::new(),
            labels: Vec::new(),
            normals: Vec::new(),
            parts: vec![80, 3],
            hold_out: Some(5),
        };
        let text = next(root, &data, out);
        let script = text.split_once("class:").unwrap().1.replace("hgad calibrate", r"printf '%s\n'");
        let said = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let words = |class: &str, rate: &str| {
            format!(
                "--model\nmodels/$HOME (2)\n--class\n{class}\n--images\nmy parts/it's here/{class}/train/good\n--hold-out\n5\n\
                 --target-frr\n{rate}\n--out\ncalibration/{class}.toml\n"
            )
        };
        let expected = words("nut", "0.013") + &words("cap; left", "0.25\n--few-parts");
        assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
        assert_eq!(quoted(Path::new("models/line-1.2")), "models/line-1.2");
    }

    #[test]
    fn the_rate_of_the_next_command_is_one_that_so_many_parts_can_keep() {
        for parts in 1..2000 {
            let told = rate(parts);
            let frr = told.split(' ').nth(1).unwrap().parse::<f64>().unwrap();
            assert!(Aim { frr, confidence: None }.parts_needed() <= parts && frr >= 0.01, "{parts}: {told}");
            assert_eq!(told.contains("--few-parts"), parts < FEWEST_PARTS, "{parts}: {told}");
        }
        assert_eq!((rate(98).as_str(), rate(99).as_str()), ("--target-frr 0.011", "--target-frr 0.01"));
    }
}
