//! Where the pictures of `hgad score --heatmap` go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::target;
use crate::{Error, Result};

/// A folder of pictures, laid out as the images are below the folder that all of them lie in: no two images share a picture.
pub struct Heatmaps {
    folder: PathBuf,
    common: PathBuf,
}

impl Heatmaps {
    /// Makes the folder for pictures of `images`.
    ///
    /// # Errors
    ///
    /// It cannot be written, or a picture would lie among the images: the next run would take it for one of them.
    pub fn new(folder: &Path, images: &[PathBuf]) -> Result<Self> {
        target::folder(folder)?;
        // An image that is not there gets no picture.
        let folders = images.iter().filter_map(|image| folder_of(image).ok()).collect::<BTreeSet<_>>();
        let common = folders.iter().cloned().reduce(|a, b| common(&a, &b)).unwrap_or_default();
        let heatmaps = Heatmaps { folder: folder.to_owned(), common };
        let beside = |place: PathBuf| place.canonicalize().is_ok_and(|place| folders.contains(&place));
        if let Some(images) = folders.iter().find(|images| beside(heatmaps.folder_for(images))) {
            return Err(Error::usage(format!("pictures in {} would lie among the images", folder.display()))
                .because(format!("those of {} would lie in a folder of images", images.display()))
                .advise("name a folder of its own for the pictures"));
        }
        Ok(heatmaps)
    }

    /// The picture's file of an image. The image's name is kept whole, so that `p.jpg` and `p.png` are told apart.
    ///
    /// # Errors
    ///
    /// The image's folder is gone, or the picture's cannot be made.
    pub fn place(&self, image: &Path) -> Result<PathBuf> {
        let failed = |error| Error::device(format!("the picture of {} has no place", image.display())).because(error);
        let folder = folder_of(image).map_err(failed)?;
        let folder = self.folder_for(&folder);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut name = image.file_name().unwrap_or_default().to_owned();
        name.push(".png");
        Ok(folder.join(name))
    }

    /// Where the pictures of the images in `images` go.
    fn folder_for(&self, images: &Path) -> PathBuf {
        self.folder.join(images.strip_prefix(&self.common).unwrap_or(images))
    }
}

/// The folder that an image lies in, by the one name that it has without links and detours.
fn folder_of(image: &Path) -> std::io::Result<PathBuf> {
    match image.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize(),
        _ => Path::new(".").canonicalize(),
    }
}

fn common(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_images_share_a_picture() {
        let root = tempfile::tempdir().unwrap();
        let names = ["a/good/0.png", "a/good/0.jpg", "b/good/0.png", "b/0.png", "b/good/../0.jpg"];
        let images = names.map(|name| root.path().join(name));
        ["a/good", "b/good"].iter().for_each(|folder| std::fs::create_dir_all(root.path().join(folder)).unwrap());
        let out = root.path().join("out");
        let heatmaps = Heatmaps::new(&out, &images).unwrap();
        let places = images.each_ref().map(|image| heatmaps.place(image).unwrap());
        let expected = ["a/good/0.png.png", "a/good/0.jpg.png", "b/good/0.png.png", "b/0.png.png", "b/0.jpg.png"];
        assert_eq!(places, expected.map(|name| out.join(name)));
        let one = Heatmaps::new(&out, &images[..2]).unwrap();
        assert_eq!(one.place(&images[1]).unwrap(), out.join("0.jpg.png"));
    }

    #[test]
    fn no_picture_lies_among_the_images() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        ["a/good", "b"].iter().for_each(|folder| std::fs::create_dir_all(at(folder)).unwrap());
        std::os::unix::fs::symlink(at("a/good"), at("link")).unwrap();
        let refused = |folder: &str, images: &[&str]| {
            let images = images.iter().map(|name| at(name)).collect::<Vec<_>>();
            Heatmaps::new(&at(folder), &images).err().map(|error| error.report())
        };
        let (one, two) = (["a/good/0.png", "gone/0.png"], ["a/good/0.png", "b/0.png"]);
        for (folder, images) in [("a/good", &one), ("link", &one), ("b/../a/good", &one), ("", &two)] {
            let report = refused(folder, images).unwrap_or_else(|| panic!("{folder} was let in"));
            assert!(report.contains("among the images") && report.contains("a folder of its own"), "{report}");
        }
        for (folder, images) in [("a/good/pictures", &one), ("a", &one), ("b", &one), ("a", &two)] {
            assert_eq!(refused(folder, images), None, "{folder}");
        }
    }
}
