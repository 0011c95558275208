//! VisA (Zou et al., ECCV 2022): `split_csv/1cls.csv` says what every image is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{GOOD, Layout, Listed, ProductData, Source, TestImage};
use crate::{Error, Result};

const COLUMNS: [&str; 5] = ["object", "split", "label", "image", "mask"];

/// The list, if `root` has it.
pub(super) fn list(root: &Path) -> Option<PathBuf> {
    Some(root.join("split_csv").join("1cls.csv")).filter(|list| list.is_file())
}

/// The products that the list names.
pub(super) fn products(root: &Path, list: &Path, prefix: &str) -> Result<Vec<ProductData>> {
    let text = std::fs::read_to_string(list)
        .map_err(|error| Error::device(format!("{} cannot be read", list.display())).because(error))?;
    let mut lines = text.lines().map(str::trim_end).zip(1..);
    let heading = lines.next().map(|(line, _)| line.trim_start_matches('\u{feff}')).unwrap_or_default();
    if heading.split(',').ne(COLUMNS) {
        return Err(wrong(list, 1, format!("its columns are '{heading}', not '{}'", COLUMNS.join(","))));
    }
    let mut found = BTreeMap::<String, Listed>::new();
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let fields = line.split(',').collect::<Vec<_>>();
        let &[object, split, label, image, mask] = fields.as_slice() else {
            return Err(wrong(list, number, format!("it has {} fields, not 5", fields.len())));
        };
        let listed = found.entry(object.to_owned()).or_insert_with(|| Listed {
            layout: Layout::Visa,
            list: list.to_owned(),
            train: Vec::new(),
            test: Vec::new(),
        });
        let image = root.join(image);
        let mask = (!mask.is_empty()).then(|| root.join(mask));
        match (split, label) {
            ("train", "normal") => listed.train.push(image),
            ("test", "normal") => listed.test.push(TestImage { image, kind: GOOD.to_owned(), mask: None }),
            ("test", "anomaly") => listed.test.push(TestImage { image, kind: label.to_owned(), mask }),
            _ => return Err(wrong(list, number, format!("it says '{split}' and '{label}'"))),
        }
    }
    let product = |(name, mut listed): (String, Listed)| {
        listed.sort();
        ProductData { name: format!("{prefix}{name}"), source: Source::Listed(listed) }
    };
    Ok(found.into_iter().map(product).collect())
}

fn wrong(list: &Path, line: usize, what: String) -> Error {
    Error::usage(format!("{}, line {line}: {what}", list.display()))
        .advise("take the list as it is distributed: object,split,label,image,mask; train or test; normal or anomaly")
}
