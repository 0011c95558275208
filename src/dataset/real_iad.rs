//! Real-IAD (Wang et al., CVPR 2024): one JSON per product says what every image is.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::folder_names;
use super::{GOOD, Layout, Listed, ProductData, Source, TestImage};
use crate::{Error, Result};

/// The class of images without a defect.
const NORMAL: &str = "OK";

/// The folders with images of one size, the finest that is practical first.
const SIZES: [&str; 4] = ["realiad_1024", "realiad_512", "realiad_256", "realiad_raw"];

#[derive(Deserialize)]
struct List {
    train: Vec<Entry>,
    test: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    anomaly_class: String,
    image_path: String,
    mask_path: Option<String>,
}

/// The folder of the lists, if `root` has it: all views of an object, each judged by itself.
pub(super) fn lists(root: &Path) -> Option<PathBuf> {
    let folder = root.join("realiad_jsons");
    [folder.join("realiad_jsons"), folder].into_iter().find(|folder| folder.is_dir())
}

/// The products that have a list and images.
pub(super) fn products(root: &Path, lists: &Path, prefix: &str) -> Result<Vec<ProductData>> {
    let there = folder_names(root)?;
    let Some(size) = SIZES.iter().find(|size| there.iter().any(|name| name == *size)) else {
        return Err(Error::usage(format!("{} has lists of Real-IAD, but no images", root.display()))
            .advise(format!("unpack the products' archives into one of {}", SIZES.join(", "))));
    };
    let images = root.join(size);
    let found = folder_names(&images)?;
    let listed = found.into_iter().map(|name| (lists.join(format!("{name}.json")), name));
    let listed = listed.filter(|(list, _)| list.is_file());
    listed.map(|(list, name)| product(&images.join(&name), list, format!("{prefix}{name}"))).collect()
}

fn product(folder: &Path, list: PathBuf, name: String) -> Result<ProductData> {
    let text = std::fs::read_to_string(&list)
        .map_err(|error| Error::device(format!("{} cannot be read", list.display())).because(error))?;
    let read = serde_json::from_str::<List>(&text).map_err(|error| {
        Error::usage(format!("{} is not a list of Real-IAD", list.display()))
            .because(error)
            .advise("take the lists as they are distributed")
    })?;
    let (train, defects) = read.train.into_iter().partition::<Vec<_>, _>(|entry| entry.anomaly_class == NORMAL);
    if !defects.is_empty() {
        log::warn!("{}: {} defective training images are left out", list.display(), defects.len());
    }
    let test = |entry: Entry| {
        let good = entry.anomaly_class == NORMAL;
        let mask = entry.mask_path.filter(|_| !good).map(|mask| folder.join(mask));
        let kind = if good { GOOD.to_owned() } else { entry.anomaly_class };
        TestImage { image: folder.join(entry.image_path), kind, mask }
    };
    let mut listed = Listed {
        layout: Layout::RealIad,
        list,
        train: train.into_iter().map(|entry| folder.join(entry.image_path)).collect(),
        test: read.test.into_iter().map(test).collect(),
    };
    listed.sort();
    Ok(ProductData { name, source: Source::Listed(listed) })
}
