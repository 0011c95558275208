//! Layouts whose folders say what is what: MVTec AD, BTAD, MVTec 3D-AD.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::files::{folder_names, images};
use super::{GOOD, Layout, ProductData, Source, TestImage};
use crate::{Error, Result};

/// One product's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folders {
    folder: PathBuf,
    names: Names,
}

/// What a layout calls its folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Names {
    layout: Layout,
    good: &'static str,
    /// Where the images of a kind lie below its folder.
    images: &'static str,
}

const MVTEC: Names = Names { layout: Layout::Mvtec, good: "good", images: "" };
const BTAD: Names = Names { layout: Layout::Btad, good: "ok", images: "" };
const MVTEC_3D: Names = Names { layout: Layout::Mvtec3d, good: "good", images: "rgb" };

/// The products in `root` that have normal images.
pub(super) fn products(root: &Path, prefix: &str) -> Result<Vec<ProductData>> {
    let names = folder_names(root)?.into_iter();
    let products = names.map(|name| product(root, &name, prefix));
    Ok(products.filter(|product| matches!(&product.source, Source::Folders(f) if f.normal("train").is_dir())).collect())
}

/// The product in the folder `name` of `root`.
pub(super) fn product(root: &Path, name: &str, prefix: &str) -> ProductData {
    let folder = root.join(name);
    let names = [BTAD, MVTEC_3D].into_iter().find(|names| {
        let of = |split| Folders { folder: folder.clone(), names: *names }.normal(split);
        of("train").is_dir() || of("test").is_dir()
    });
    let source = Source::Folders(Folders { folder, names: names.unwrap_or(MVTEC) });
    ProductData { name: format!("{prefix}{name}"), source }
}

impl Folders {
    pub(super) fn layout(&self) -> Layout {
        self.names.layout
    }

    /// Where a split's normal images lie.
    fn normal(&self, split: &str) -> PathBuf {
        self.folder.join(split).join(self.names.good).join(self.names.images)
    }

    pub(super) fn train(&self, product: &str) -> Result<Vec<PathBuf>> {
        let folder = self.normal("train");
        if !folder.is_dir() {
            return Err(Error::usage(format!("'{product}' has no folder train/good"))
                .because(format!("{} is not there", folder.display()))
                .advise("put its normal images there (the MVTec AD layout)"));
        }
        images(&folder)
    }

    pub(super) fn validation(&self) -> Result<Vec<PathBuf>> {
        self.normal_if_any("validation")
    }

    pub(super) fn normal_test(&self) -> Result<Vec<PathBuf>> {
        self.normal_if_any("test")
    }

    /// A split's normal images; none where the data set has no such split.
    fn normal_if_any(&self, split: &str) -> Result<Vec<PathBuf>> {
        let folder = self.normal(split);
        if folder.is_dir() { images(&folder) } else { Ok(Vec::new()) }
    }

    pub(super) fn test(&self, product: &str) -> Result<Vec<TestImage>> {
        let folder = self.folder.join("test");
        let kinds = if folder.is_dir() { folder_names(&folder)? } else { Vec::new() };
        if kinds.is_empty() {
            return Err(Error::usage(format!("'{product}' has no test images"))
                .because(format!("{} has no folder", folder.display()))
                .advise("put them into test/good and test/KIND-OF-DEFECT"));
        }
        let mut test = Vec::new();
        for kind in kinds {
            let good = kind == self.names.good;
            for image in images(&folder.join(&kind).join(self.names.images))? {
                let mask = if good { None } else { self.mask_of(&kind, &image) };
                test.push(TestImage { image, kind: if good { GOOD.to_owned() } else { kind.clone() }, mask });
            }
        }
        Ok(test)
    }

    /// Where the masks of a kind of defect lie.
    fn masks(&self, kind: &str) -> PathBuf {
        match self.names.layout {
            Layout::Mvtec3d => self.folder.join("test").join(kind).join("gt"),
            _ => self.folder.join("ground_truth").join(kind),
        }
    }

    fn mask_of(&self, kind: &str, image: &Path) -> Option<PathBuf> {
        let stem = image.file_stem()?.to_str()?;
        let names = [format!("{stem}_mask.png"), format!("{stem}.png"), format!("{stem}.bmp")];
        names.iter().map(|name| self.masks(kind).join(name)).find(|path| path.is_file())
    }

    pub(super) fn masks_without_image(&self, test: &[TestImage]) -> Result<Vec<PathBuf>> {
        let used = test.iter().filter_map(|test| test.mask.as_ref()).collect::<HashSet<_>>();
        let root = match self.names.layout {
            Layout::Mvtec3d => self.folder.join("test"),
            _ => self.folder.join("ground_truth"),
        };
        let mut left = Vec::new();
        for kind in if root.is_dir() { folder_names(&root)? } else { Vec::new() } {
            // MVTec 3D-AD has black masks for good images.
            let folder = self.masks(&kind);
            if kind == self.names.good || !folder.is_dir() {
                continue;
            }
            let masks = std::fs::read_dir(&folder)
                .map_err(|error| Error::device(format!("folder {} cannot be read", folder.display())).because(error))?;
            let masks = masks.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
            left.extend(masks.filter(|path| !used.contains(path)));
        }
        left.sort();
        Ok(left)
    }
}
