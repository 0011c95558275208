//! Data sets of images with and without defects, as their authors distribute them.
//!
//! | layout | a product's images |
//! |---|---|
//! | MVTec AD, own data | `NAME/train/good`, `NAME/test/KIND`, masks `NAME/ground_truth/KIND/STEM_mask.png` |
//! | BTAD | `NAME/train/ok`, `NAME/test/ok`, `NAME/test/ko`, masks `NAME/ground_truth/ko/STEM.png` or `.bmp` |
//! | MVTec 3D-AD | `NAME/train/good/rgb`, `NAME/test/KIND/rgb`, masks `NAME/test/KIND/gt/STEM.png` |
//! | VisA | what `split_csv/1cls.csv` lists |
//! | Real-IAD | what `realiad_jsons/realiad_jsons/NAME.json` lists, below `realiad_1024`, `_512`, `_256` or `_raw` |
//!
//! A folder of several such folders is their union; a product's name there begins with its folder's (`mvtec-bottle`).

mod files;
mod folders;
mod real_iad;
mod visa;

use std::path::{Path, PathBuf};

use crate::{Error, Result};
use files::folder_names;
pub use files::{check_header, decode_rgb, images, read_bytes, read_mask, read_picture, read_rgb, sample_mask};
use folders::Folders;

/// The kind of test image that has no defect.
pub const GOOD: &str = "good";

/// How a data set lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// MVTec AD's, which own data take as well.
    Mvtec,
    /// BTAD's.
    Btad,
    /// MVTec 3D-AD's, of which the colour images are read.
    Mvtec3d,
    /// VisA's.
    Visa,
    /// Real-IAD's.
    RealIad,
}

/// One product's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductData {
    /// The class: the folder's name as a rule.
    pub name: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Folders say what is what.
    Folders(Folders),
    /// A list says it.
    Listed(Listed),
}

/// What a data set's list says of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    layout: Layout,
    /// The list, for errors.
    list: PathBuf,
    train: Vec<PathBuf>,
    test: Vec<TestImage>,
}

impl ProductData {
    /// How its data set lies on the disk.
    pub fn layout(&self) -> Layout {
        match &self.source {
            Source::Folders(folders) => folders.layout(),
            Source::Listed(listed) => listed.layout,
        }
    }

    /// The normal images to learn from, sorted by path.
    ///
    /// # Errors
    ///
    /// There is none, or the folder cannot be read.
    pub fn train(&self) -> Result<Vec<PathBuf>> {
        match &self.source {
            Source::Folders(folders) => folders.train(&self.name),
            Source::Listed(listed) => some(&listed.train, &self.name, "training", &listed.list),
        }
    }

    /// All test images, sorted by kind and path.
    ///
    /// # Errors
    ///
    /// There is none, or a folder cannot be read or holds no image.
    pub fn test(&self) -> Result<Vec<TestImage>> {
        match &self.source {
            Source::Folders(folders) => folders.test(&self.name),
            Source::Listed(listed) => some(&listed.test, &self.name, "test", &listed.list),
        }
    }

    /// The test images without a defect; none where there are no test images at all.
    ///
    /// # Errors
    ///
    /// A folder cannot be read or holds no image.
    pub fn normal_test(&self) -> Result<Vec<PathBuf>> {
        match &self.source {
            Source::Folders(folders) => folders.normal_test(),
            Source::Listed(listed) => {
                Ok(listed.test.iter().filter(|test| !test.is_defective()).map(|test| test.image.clone()).collect())
            }
        }
    }

    /// Normal images that are meant for validation, which MVTec 3D-AD alone has; nothing else reads them.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn validation(&self) -> Result<Vec<PathBuf>> {
        match &self.source {
            Source::Folders(folders) => folders.validation(),
            Source::Listed(_) => Ok(Vec::new()),
        }
    }

    /// Masks that lie there and belong to no test image.
    ///
    /// # Errors
    ///
    /// A folder cannot be read.
    pub fn masks_without_image(&self) -> Result<Vec<PathBuf>> {
        match &self.source {
            Source::Folders(folders) => folders.masks_without_image(&self.test()?),
            Source::Listed(_) => Ok(Vec::new()),
        }
    }
}

impl Listed {
    /// The order does not depend on the list's.
    fn sort(&mut self) {
        self.train.sort();
        self.test.sort_by(|a, b| (&a.kind, &a.image).cmp(&(&b.kind, &b.image)));
    }
}

fn some<T: Clone>(images: &[T], product: &str, what: &str, list: &Path) -> Result<Vec<T>> {
    match images.is_empty() {
        true => {
            Err(Error::usage(format!("'{product}' has no {what} images"))
                .because(format!("{} lists none", list.display())))
        }
        false => Ok(images.to_vec()),
    }
}

/// One image of `test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestImage {
    /// The image.
    pub image: PathBuf,
    /// [`GOOD`] or a kind of defect.
    pub kind: String,
    /// The mask of the defect, where there is one.
    pub mask: Option<PathBuf>,
}

impl TestImage {
    /// Whether the part is defective.
    pub fn is_defective(&self) -> bool {
        self.kind != GOOD
    }
}

/// Which part of a sorted list of images is meant: every `n`-th (index i with `i % n == n - 1`) is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOut {
    /// Every image.
    All,
    /// What training sees when every n-th image is held out.
    Kept(usize),
    /// The images held out, for calibration.
    Held(usize),
}

impl HoldOut {
    /// The images that are meant, in their order.
    pub fn select<T>(self, images: Vec<T>) -> Vec<T> {
        let keep = |i: usize| match self {
            HoldOut::All => true,
            HoldOut::Kept(n) => i % n != n - 1,
            HoldOut::Held(n) => i % n == n - 1,
        };
        images.into_iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, image)| image).collect()
    }
}

/// The products below `root`, sorted by name: all that have normal images, or those in `only`.
///
/// # Errors
///
/// `root` or its list cannot be read, a product that was asked for is not there or asked for twice, or none is.
pub fn products(root: &Path, only: Option<&[String]>) -> Result<Vec<ProductData>> {
    let sets = sets(root)?;
    let found = sets.into_iter().flat_map(|set| set.products).collect::<Vec<_>>();
    let Some(names) = only else {
        return match found.is_empty() {
            true => Err(Error::usage(format!("no product in {}", root.display()))
                .advise("give a folder with one folder per product, each with train/good (the MVTec AD layout)")),
            false => Ok(found),
        };
    };
    if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        return Err(Error::usage(format!("the product '{}' is named twice", twice.1)).advise("name each product once"));
    }
    let product = |name: &String| match found.iter().find(|product| product.name == *name) {
        Some(product) => Ok(product.clone()),
        // Whoever asks for test images alone needs no train/good.
        None if root.join(name).is_dir() => Ok(folders::product(root, name, "")),
        None => Err(Error::usage(format!("there is no product '{name}' in {}", root.display())).advise(format!(
            "there are: {}",
            match found.is_empty() {
                true => folder_names(root)?.join(", "),
                false => found.iter().map(|product| product.name.as_str()).collect::<Vec<_>>().join(", "),
            }
        ))),
    };
    names.iter().map(product).collect()
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// Its folder.
    pub folder: PathBuf,
    /// What its products' names begin with: nothing, or its folder's name and a dash when it is part of a union.
    pub prefix: String,
    /// The products, sorted by name.
    pub products: Vec<ProductData>,
}

/// The data sets in `root`: one, or those of a union. None where no product is found.
///
/// # Errors
///
/// `root` or a list cannot be read.
pub fn sets(root: &Path) -> Result<Vec<DataSet>> {
    if let Some(set) = set(root, "")? {
        return Ok(vec![set]);
    }
    let below = folder_names(root)?.into_iter().map(|name| set(&root.join(&name), &format!("{name}-")));
    Ok(below.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn set(folder: &Path, prefix: &str) -> Result<Option<DataSet>> {
    let mut products = match (visa::list(folder), real_iad::lists(folder)) {
        (Some(list), _) => visa::products(folder, &list, prefix)?,
        (None, Some(lists)) => real_iad::products(folder, &lists, prefix)?,
        (None, None) => folders::products(folder, prefix)?,
    };
    products.sort_by(|a, b| a.name.cmp(&b.name));
    let prefix = prefix.to_owned();
    Ok((!products.is_empty()).then(|| DataSet { folder: folder.to_owned(), prefix, products }))
}

#[cfg(test)]
mod tests;
