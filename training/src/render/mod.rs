//! Data sets of rendered parts in the MVTec AD layout: `train/good`, `test/KIND`, `ground_truth/KIND/NNN_mask.png`.

use std::path::{Path, PathBuf};

use hgad::dataset::GOOD;
use hgad::synthetic::{DefectKind, Product, Truth, render};
use hgad::{Error, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;

/// What to render.
#[derive(Debug, Clone)]
pub struct Request {
    /// The data set's folder: one folder per product comes into it.
    pub out: PathBuf,
    /// Decides every part; the synthetic conveyor's parts of the same seed are others.
    pub seed: u64,
    /// Good parts per product in `train`.
    pub train: u64,
    /// Good parts per product in `test`, and as many defective ones, shared evenly among the kinds.
    pub test: u64,
}

/// One picture that is to be written.
struct Picture {
    truth: Truth,
    /// Its place in the row of parts.
    number: u64,
    image: PathBuf,
    mask: Option<PathBuf>,
}

/// Renders the data set and returns the number of images (masks not counted).
///
/// # Errors
///
/// The folder stands already and is not empty (a usage error), or cannot be written.
pub fn render_dataset(request: &Request) -> Result<usize> {
    let occupied = request.out.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(Error::usage(format!("folder {} is not empty", request.out.display()))
            .advise("remove it or name another with --out: old and new images must not mix"));
    }
    let pictures = Product::ALL.into_iter().flat_map(|product| pictures(request, product)).collect::<Vec<_>>();
    for picture in &pictures {
        for path in [Some(&picture.image), picture.mask.as_ref()].into_iter().flatten() {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::device(format!("cannot make the folder {}", folder.display())).because(error)
            })?;
        }
    }
    let bar = ProgressBar::new(pictures.len() as u64);
    pictures.par_iter().try_for_each(|picture| {
        bar.inc(1);
        picture.write(request.seed)
    })?;
    bar.finish_and_clear();
    Ok(pictures.len())
}

fn pictures(request: &Request, product: Product) -> Vec<Picture> {
    let folder = request.out.join(product.name());
    let picture = |number, split: &str, defect: Option<DefectKind>, index: u64| {
        let kind = defect.map_or(GOOD, DefectKind::name);
        let mask = format!("{index:03}_mask.png");
        Picture {
            truth: Truth { product, defect },
            number,
            image: folder.join(split).join(kind).join(format!("{index:03}.png")),
            mask: defect.map(|_| folder.join("ground_truth").join(kind).join(mask)),
        }
    };
    let kinds = product.defects();
    let train = (0..request.train).map(|i| picture(i, "train", None, i));
    let good = (0..request.test).map(|i| picture(request.train + i, "test", None, i));
    let defective = (0..request.test).map(|i| {
        let (kind, index) = (kinds[i as usize % kinds.len()], i / kinds.len() as u64);
        picture(request.train + request.test + i, "test", Some(kind), index)
    });
    train.chain(good).chain(defective).collect()
}

impl Picture {
    fn write(&self, seed: u64) -> Result<()> {
        let failed =
            |path: &Path, error| Error::device(format!("image {} cannot be written", path.display())).because(error);
        // A class of its own per product, so that products do not share their parts' variation; the conveyor counts
        // its parts from 0 and never comes here.
        let number = (1 << 63) + ((self.truth.product as u64) << 48) + self.number;
        let part = render(self.truth, seed, number);
        part.image.save(&self.image).map_err(|error| failed(&self.image, error))?;
        match (&part.mask, &self.mask) {
            (Some(mask), Some(path)) => mask.save(path).map_err(|error| failed(path, error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request { out: folder.path().join("parts"), seed: 1, train: 2, test: 6 };
        assert_eq!(render_dataset(&request).unwrap(), 3 * (2 + 6 + 6));
        let products = hgad::dataset::products(&request.out, None).unwrap();
        assert_eq!(products.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["blister", "cap", "gear"]);
        for product in products {
            let (train, test) = (product.train().unwrap(), product.test().unwrap());
            assert_eq!((train.len(), test.len()), (2, 12));
            assert!(test.iter().all(|image| image.is_defective() == image.mask.is_some()));
        }
        assert_eq!(render_dataset(&request).unwrap_err().kind(), hgad::ErrorKind::Usage);
    }
}
