//! What a training run says of itself: in the manifest, and to the person who started it.

use std::path::Path;

use hgad::digest::Digest;
use hgad::{Error, Result};

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
    line(format!("{:<24}{:>8}{:>12}", "class", "images", "held out"));
    for (class, name) in data.classes.iter().enumerate() {
        let held = data.hold_out.map_or("-".to_owned(), |_| data.normals[class].len().to_string());
        line(format!("{name:<24}{:>8}{held:>12}", data.count(class)));
    }
    let names = Losses::<f32>::NAMES.map(|name| format!("{name:>9}")).concat();
    line(format!("\n{:<24}{:>8}{:>9}{names}", "level", "grid", "channels"));
    for (level, losses) in fitted.levels.iter().zip(&fitted.losses) {
        let grid = format!("{}x{}", level.grid.1, level.grid.0);
        let losses = losses.map(|loss| format!("{loss:>9.4}")).concat();
        line(format!("{:<24}{grid:>8}{:>9}{losses}", level.tap, level.mean.len()));
    }
    if let Some(error) = &exported.weight_error {
        line(format!("\n{error}"));
    }
    line(format!("\nbundle  {} ({:.1} MB)", out.display(), size(out)? as f64 / 1e6));
    line(format!("digest  {}", exported.bundle.digest));
    Ok(text)
}

/// The bytes of all files in `folder`.
fn size(folder: &Path) -> Result<u64> {
    let failed = |error| Error::device(format!("bundle {} cannot be read", folder.display())).because(error);
    let files = std::fs::read_dir(folder).map_err(failed)?;
    files.map(|file| Ok(file.map_err(failed)?.metadata().map_err(failed)?.len())).sum()
}
