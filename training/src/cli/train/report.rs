//! What a training run says of itself: in the manifest, and to the person who started it.

use std::path::Path;

use hgad::bundle::Bundle;
use hgad::dataset::GOOD;
use hgad::digest::Digest;
use hgad::{Error, Result};

use super::fitness;
use super::task::Dataset;
use crate::export::Exported;
use crate::fit::{Fitted, Losses, Recipe};

/// The manifest's `training` table: hyperparameters, data, losses.
pub fn provenance(recipe: &Recipe, data: &Dataset, fitted: &Fitted) -> Result<toml::Table> {
    let recipe = toml::Table::try_from(recipe)
        .map_err(|error| Error::usage("a hyperparameter cannot be written into the manifest").because(error))?;
    let products = data.classes.iter().enumerate().map(|(class, name)| {
        let digests = data.images.iter().zip(&data.labels).filter(|(_, label)| **label == class);
        let digests = digests.map(|(image, _)| image.digest.to_string()).collect::<Vec<_>>();
        let product = toml::Table::from_iter([
            ("images".to_owned(), toml::Value::from(digests.len() as i64)),
            ("sha256_of_digests".to_owned(), Digest::of(digests.join("\n")).to_string().into()),
        ]);
        (name.clone(), toml::Value::from(product))
    });
    let losses = fitted.levels.iter().zip(&fitted.losses).map(|(level, losses)| {
        let named = Losses::<f32>::NAMES.iter().zip(losses);
        let named = named.map(|(name, loss)| ((*name).to_owned(), toml::Value::from(f64::from(*loss))));
        (level.tap.clone(), toml::Value::from(toml::Table::from_iter(named)))
    });
    let mut table = toml::Table::from_iter([
        ("steps".to_owned(), toml::Value::from(fitted.steps as i64)),
        ("recipe".to_owned(), recipe.into()),
        ("data".to_owned(), toml::Table::from_iter(products).into()),
        ("losses".to_owned(), toml::Table::from_iter(losses).into()),
    ]);
    if let Some(n) = data.hold_out {
        table.insert("hold_out".to_owned(), toml::Value::from(n as i64));
    }
    Ok(table)
}

/// The summary for people.
pub fn table(data: &Dataset, fitted: &Fitted, exported: &Exported, out: &Path) -> Result<String> {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    let width =
        data.classes.iter().chain(fitted.levels.iter().map(|level| &level.tap)).map(|name| name.chars().count());
    let width = width.max().unwrap_or(0).max(8);
    line(format!("{:<width$}{:>8}{:>10}", "class", "images", "held out"));
    for (class, name) in data.classes.iter().enumerate() {
        let held = data.hold_out.map_or("-".to_owned(), |_| data.normals[class].len().to_string());
        line(format!("{name:<width$}{:>8}{held:>10}", data.count(class)));
    }
    let names = Losses::<f32>::NAMES.map(|name| format!("{name:>10}")).concat();
    line(format!("\n{:<width$}{:>8}{:>10}{names}{:>10}", "level", "grid", "channels", "distance"));
    for (l, (level, losses)) in fitted.levels.iter().zip(&fitted.losses).enumerate() {
        let grid = format!("{}x{}", level.grid.1, level.grid.0);
        let (_, distance) = fitness::farthest(&exported.from_centers[l]);
        let numbers =
            losses.iter().chain([&distance]).map(|number| format!("{:>10}", hgad::print::fitted(*number, 4, 9)));
        let mark = complaint(l, fitted, exported).map_or("", |_| "  USELESS");
        line(format!("{:<width$}{grid:>8}{:>10}{}{mark}", level.tap, level.mean.len(), numbers.collect::<String>()));
    }
    if let Some(error) = &exported.weight_error {
        line(format!("\n{error}"));
    }
    line(format!("\nbundle  {} ({:.1} MB)", out.display(), size(out)? as f64 / 1e6));
    line(format!("digest  {}", exported.bundle.digest));
    Ok(text)
}

fn complaint(level: usize, fitted: &Fitted, exported: &Exported) -> Option<String> {
    let [likelihood, _, _, intra, _] = fitted.losses[level];
    let Bundle { manifest, centers, .. } = &exported.bundle;
    fitness::complaint(
        level,
        &manifest.classes,
        [likelihood, intra],
        &exported.from_centers[level],
        &centers.references,
    )
}

/// Whether the model is of use.
///
/// # Errors
///
/// A level was not fitted: the error names all such levels.
pub fn check_use(fitted: &Fitted, exported: &Exported) -> Result<()> {
    let levels = fitted.levels.iter().enumerate();
    let useless =
        levels.filter_map(|(l, level)| Some((level.tap.as_str(), complaint(l, fitted, exported)?))).collect::<Vec<_>>();
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

/// The commands that come next, one per product.
pub fn next(root: &Path, data: &Dataset, out: &Path) -> String {
    let command = |class: &String| {
        let images = match data.hold_out {
            Some(n) => format!("{} --hold-out {n}", quoted(&root.join(class).join("train").join(GOOD))),
            None => "FOLDER-OF-OTHER-NORMAL-IMAGES".to_owned(),
        };
        format!(
            "  hgad calibrate --model {} --class {} \\\n    --images {images} --out {}",
            quoted(out),
            quoted(Path::new(class)),
            quoted(Path::new(&format!("calibration/{class}.toml")))
        )
    };
    let commands = data.classes.iter().map(command).collect::<Vec<_>>().join("\n");
    format!("\nnext, for every class:\n{commands}")
}

/// As a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The bytes of all files in `folder`.
fn size(folder: &Path) -> Result<u64> {
    let failed = |error| Error::device(format!("bundle {} cannot be read", folder.display())).because(error);
    let files = std::fs::read_dir(folder).map_err(failed)?;
    files.map(|file| Ok(file.map_err(failed)?.metadata().map_err(failed)?.len())).sum()
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
            hold_out: Some(5),
        };
        let text = next(root, &data, out);
        let script = text.split_once("class:").unwrap().1.replace("hgad calibrate", r"printf '%s\n'");
        let said = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let words = |class: &str| {
            format!(
                "--model\nmodels/$HOME (2)\n--class\n{class}\n--images\nmy parts/it's here/{class}/train/good\n--hold-out\n5\n\
                 --out\ncalibration/{class}.toml\n"
            )
        };
        assert_eq!(String::from_utf8(said.stdout).unwrap(), words("nut") + &words("cap; left"));
        assert_eq!(quoted(Path::new("models/line-1.2")), "models/line-1.2");
    }
}
