//! Folders of images: the MVTec AD layout (`train/good`, `test/<kind>`, `ground_truth/<kind>/NAME_mask.png`) and plain folders.

use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};
use ndarray::Array2;

use crate::jpeg::{SOI, has_its_end};
use crate::print::counted;
use crate::{Error, Result};

/// The kind of test image that has no defect.
pub const GOOD: &str = "good";

/// One product's folder in the MVTec AD layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductData {
    /// The folder's name: the class.
    pub name: String,
    folder: PathBuf,
}

impl ProductData {
    /// `train/good`, sorted by name.
    ///
    /// # Errors
    ///
    /// The folder is not there, cannot be read, or holds no image.
    pub fn train(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("train").join(GOOD);
        if !folder.is_dir() {
            return Err(Error::usage(format!("'{}' has no folder train/good", self.name))
                .because(format!("{} is not there", folder.display()))
                .advise("put its normal images there (the MVTec AD layout)"));
        }
        images(&folder)
    }

    /// All of `test`, sorted by kind and name.
    ///
    /// # Errors
    ///
    /// The folder is not there or has no kinds, or one of these cannot be read or holds no image.
    pub fn test(&self) -> Result<Vec<TestImage>> {
        let folder = self.folder.join("test");
        let kinds = if folder.is_dir() { folder_names(&folder)? } else { Vec::new() };
        if kinds.is_empty() {
            return Err(Error::usage(format!("'{}' has no test images", self.name))
                .because(format!("{} has no folder", folder.display()))
                .advise("put them into test/good and test/KIND-OF-DEFECT"));
        }
        let mut test = Vec::new();
        for kind in kinds {
            for image in images(&folder.join(&kind))? {
                let mask = mask_of(&self.folder, &kind, &image);
                test.push(TestImage { image, kind: kind.clone(), mask });
            }
        }
        Ok(test)
    }
}

/// One image of `test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestImage {
    /// The image.
    pub image: PathBuf,
    /// The folder's name: [`GOOD`] or a kind of defect.
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

/// The products below `root`, sorted by name: all that have a `train/good` folder, or those in `only`.
///
/// # Errors
///
/// `root` cannot be read, a product that was asked for is not there or asked for twice, or none is.
pub fn products(root: &Path, only: Option<&[String]>) -> Result<Vec<ProductData>> {
    let names = match only {
        Some(names) => {
            if let Some(gone) = names.iter().find(|name| !root.join(name).is_dir()) {
                return Err(Error::usage(format!("there is no product '{gone}' in {}", root.display()))
                    .advise(format!("the folders there: {}", folder_names(root)?.join(", "))));
            }
            if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                return Err(
                    Error::usage(format!("the product '{}' is named twice", twice.1)).advise("name each product once")
                );
            }
            names.to_vec()
        }
        None => {
            folder_names(root)?.into_iter().filter(|name| root.join(name).join("train").join(GOOD).is_dir()).collect()
        }
    };
    if names.is_empty() {
        return Err(Error::usage(format!("no product in {}", root.display()))
            .advise("give a folder with one folder per product, each with train/good (the MVTec AD layout)"));
    }
    Ok(names.into_iter().map(|name| ProductData { folder: root.join(&name), name }).collect())
}

fn mask_of(folder: &Path, kind: &str, image: &Path) -> Option<PathBuf> {
    let stem = image.file_stem()?.to_str()?;
    let masks = folder.join("ground_truth").join(kind);
    [format!("{stem}_mask.png"), format!("{stem}.png")].iter().map(|name| masks.join(name)).find(|path| path.is_file())
}

fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .collect::<Vec<_>>();
    names.sort();
    Ok(names)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| {
        Error::device(format!("folder {} cannot be read", folder.display()))
            .because(error)
            .advise("check the path and its permissions")
    };
    std::fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// The image files in `folder` (by their ending: png, jpg, jpeg, bmp, tif, tiff, ppm, pgm), sorted by name. Of others the log
/// tells; folders in it are not searched.
///
/// # Errors
///
/// The folder cannot be read, or holds no image.
pub fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "ppm", "pgm"];
    let is_image = |path: &PathBuf| {
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        path.is_file() && ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
    };
    let (mut found, mut others): (Vec<_>, Vec<_>) = entries(folder)?.into_iter().partition(is_image);
    found.sort();
    others.sort();
    if found.is_empty() {
        let error = Error::usage(format!("folder {} holds no image", folder.display()));
        let folders =
            others.iter().filter(|path| path.is_dir()).map(|path| path.display().to_string()).collect::<Vec<_>>();
        return Err(match folders.is_empty() {
            true => error.advise(format!("images end in {}", ENDINGS.join(", "))),
            false => error.advise(format!("folders in it are not searched: name one of {}", folders.join(", "))),
        });
    }
    if let Some(first) = others.iter().find(|path| path.is_file()) {
        let count = others.iter().filter(|path| path.is_file()).count() as u64;
        let what = counted(count, "file");
        log::info!("{}: {what} without the ending of an image left out, such as {}", folder.display(), first.display());
    }
    Ok(found)
}

/// Reads an image as 8-bit RGB, whatever its format and depth.
///
/// # Errors
///
/// The file cannot be read or is not an image.
pub fn read_rgb(path: &Path) -> Result<RgbImage> {
    decode_rgb(path, &read_bytes(path)?)
}

/// Reads an image file as it is.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::device(format!("image {} cannot be read", path.display()))
            .because(error)
            .advise("check the path and its permissions")
    })
}

/// The image, as 8-bit RGB, that `bytes` of the file `path` hold.
///
/// # Errors
///
/// It is not an image.
pub fn decode_rgb(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    Ok(decode(path, bytes)?.to_rgb8())
}

/// Looks at the beginning and the end of an image file's `bytes` without decoding it: cheap enough for all images before
/// hours of work.
///
/// # Errors
///
/// It is not an image, has no pixels, or is a JPEG that was cut off.
pub fn check_header(path: &Path, bytes: &[u8]) -> Result<()> {
    check_whole(path, bytes)?;
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    let size = reader.map_err(image::ImageError::from).and_then(image::ImageReader::into_dimensions);
    match size.map_err(|error| no_image(path, error))? {
        (0, _) | (_, 0) => Err(Error::device(format!("{} has no pixels", path.display())).advise("leave it out")),
        _ => Ok(()),
    }
}

/// Reads a mask: pixels above 0 are the defect.
///
/// # Errors
///
/// The file cannot be read or is not an image.
pub fn read_mask(path: &Path) -> Result<GrayImage> {
    let mut mask = decode(path, &read_bytes(path)?)?.to_luma8();
    mask.pixels_mut().for_each(|pixel| pixel.0[0] = if pixel.0[0] > 0 { 255 } else { 0 });
    Ok(mask)
}

/// A mask's pixels that are above 0, on a grid `(H, W)`: those nearest to its cells' centers.
pub fn sample_mask(mask: &GrayImage, (height, width): (usize, usize)) -> Array2<bool> {
    Array2::from_shape_fn((height, width), |(y, x)| {
        let row = (2 * y + 1) * mask.height() as usize / (2 * height);
        let column = (2 * x + 1) * mask.width() as usize / (2 * width);
        mask.get_pixel(column as u32, row as u32).0[0] > 0
    })
}

fn decode(path: &Path, bytes: &[u8]) -> Result<image::DynamicImage> {
    check_whole(path, bytes)?;
    // The content decides, not the ending: a JPEG that is called .png is still a JPEG.
    image::load_from_memory(bytes).map_err(|error| no_image(path, error))
}

fn check_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    match bytes.starts_with(&SOI) && !has_its_end(bytes) {
        true => Err(Error::device(format!("{} is a JPEG picture that was cut off", path.display()))
            .advise("copy it again, or leave it out")),
        false => Ok(()),
    }
}

fn no_image(path: &Path, error: image::ImageError) -> Error {
    Error::device(format!("{} is not an image that can be read", path.display()))
        .because(error)
        .advise("PNG, JPEG, BMP, TIFF and PNM are read; is the file complete? copy it again, or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_out_splits_into_disjoint_halves_that_make_the_whole() {
        let all = (0..12).collect::<Vec<_>>();
        assert_eq!(HoldOut::Held(5).select(all.clone()), [4, 9]);
        let mut union = HoldOut::Kept(5).select(all.clone());
        union.extend(HoldOut::Held(5).select(all.clone()));
        union.sort();
        assert_eq!(union, all);
        assert_eq!(HoldOut::All.select(all.clone()), all);
    }

    #[test]
    fn masks_are_sampled_at_pixel_centers() {
        let mask = GrayImage::from_fn(4, 4, |x, y| image::Luma([if x >= 2 && y < 2 { 255 } else { 0 }]));
        assert_eq!(sample_mask(&mask, (2, 2)).into_raw_vec_and_offset().0, [false, true, false, false]);
    }

    #[test]
    fn the_mvtec_layout_is_read() {
        let root = tempfile::tempdir().unwrap();
        let png = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::new(2, 2).save(path).unwrap();
        };
        png("cap/train/good/001.png");
        png("cap/train/good/000.png");
        png("cap/test/good/000.png");
        png("cap/test/hole/000.png");
        png("cap/ground_truth/hole/000_mask.png");
        std::fs::create_dir_all(root.path().join("not-a-product")).unwrap();
        let found = products(root.path(), None).unwrap();
        assert_eq!(found.len(), 1);
        let (train, test) = (found[0].train().unwrap(), found[0].test().unwrap());
        assert!(train[0].ends_with("000.png") && train.len() == 2);
        assert!(!test[0].is_defective() && test[0].mask.is_none());
        assert!(test[1].is_defective() && test[1].mask.is_some());
        let refused = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            products(root.path(), Some(&names)).unwrap_err().to_string()
        };
        assert!(refused(&["gone"]).contains("no product 'gone'"));
        assert!(refused(&["cap", "not-a-product", "cap"]).contains("'cap' is named twice"));
        let empty = &products(root.path(), Some(&["not-a-product".into()])).unwrap()[0];
        assert!(empty.train().unwrap_err().to_string().contains("train/good"));
        assert!(empty.test().unwrap_err().to_string().contains("no test images"));
    }
}
