//! Image files: which there are in a folder, and what is in them.

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, RgbImage};
use ndarray::Array2;

use crate::jpeg::{SOI, has_its_end};
use crate::print::counted;
use crate::{Error, Result};

/// The names of the folders in `folder`, sorted.
pub(super) fn folder_names(folder: &Path) -> Result<Vec<String>> {
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

/// Reads an image with the colours that its file has.
///
/// # Errors
///
/// The file cannot be read or is not an image.
pub fn read_picture(path: &Path) -> Result<image::DynamicImage> {
    decode(path, &read_bytes(path)?)
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

/// Reads a mask: what is neither black nor transparent is the defect, which is 255 in the result, and the rest 0. Masks come
/// in grey, colour and palettes, and in 8 and 16 bits, where a defect may be as dark as 1.
///
/// # Errors
///
/// The file cannot be read or is not an image.
pub fn read_mask(path: &Path) -> Result<GrayImage> {
    let mask = read_picture(path)?.to_rgba16();
    let defect = |[red, green, blue, alpha]: [u16; 4]| alpha > 0 && (red | green | blue) > 0;
    Ok(GrayImage::from_fn(mask.width(), mask.height(), |x, y| {
        Luma([if defect(mask.get_pixel(x, y).0) { 255 } else { 0 }])
    }))
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
    use image::{DynamicImage, ImageBuffer, Rgb, Rgba};

    use super::*;

    #[test]
    fn masks_are_sampled_at_pixel_centers() {
        let mask = GrayImage::from_fn(4, 4, |x, y| Luma([if x >= 2 && y < 2 { 255 } else { 0 }]));
        assert_eq!(sample_mask(&mask, (2, 2)).into_raw_vec_and_offset().0, [false, true, false, false]);
    }

    #[test]
    fn a_defect_is_seen_in_every_kind_of_mask() {
        let folder = tempfile::tempdir().unwrap();
        let at = |x: u32, y: u32| x == 3 && y == 1;
        let kinds: [(&str, DynamicImage); 5] = [
            ("grey", ImageBuffer::from_fn(5, 4, |x, y| Luma([u8::from(at(x, y))])).into()),
            ("grey16", ImageBuffer::from_fn(5, 4, |x, y| Luma([u16::from(at(x, y))])).into()),
            ("rgb", ImageBuffer::from_fn(5, 4, |x, y| Rgb([0, 0, u8::from(at(x, y))])).into()),
            ("rgba", ImageBuffer::from_fn(5, 4, |x, y| Rgba([255, 255, 255, 255 * u8::from(at(x, y))])).into()),
            ("opaque", ImageBuffer::from_fn(5, 4, |x, y| Rgba([9 * u8::from(at(x, y)), 0, 0, 255])).into()),
        ];
        for (name, mask) in kinds {
            for ending in ["png", "tif"] {
                let path = folder.path().join(format!("{name}.{ending}"));
                mask.save(&path).unwrap();
                let read = read_mask(&path).unwrap();
                assert!(
                    read.enumerate_pixels().all(|(x, y, pixel)| (pixel.0[0] == 255) == at(x, y)),
                    "{name}.{ending}"
                );
            }
        }
    }

    #[test]
    fn a_palette_s_mask_and_image_are_read_in_colour() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("palette.png");
        // 2 bits each: black but for one pixel, which has colour 2.
        let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 4, 2);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Two);
        encoder.set_palette(vec![0, 0, 0, 10, 20, 30, 0, 0, 1, 200, 200, 200]);
        encoder.write_header().unwrap().write_image_data(&[0, 0b00_00_10_00]).unwrap();
        let mask = read_mask(&path).unwrap();
        assert_eq!(mask.into_raw(), [0, 0, 0, 0, 0, 0, 255, 0]);
        assert_eq!(read_rgb(&path).unwrap().get_pixel(2, 1).0, [0, 0, 1]);
    }

    #[test]
    fn images_of_any_kind_become_rgb_and_odd_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let save = |image: DynamicImage, name: &str| image.save(place(name)).unwrap();
        save(ImageBuffer::from_pixel(2, 2, Luma([200u8])).into(), "b.PNG");
        save(ImageBuffer::from_pixel(2, 2, Luma([200u16 * 257])).into(), "a.png");
        save(ImageBuffer::from_pixel(2, 2, Rgba([200u8, 200, 200, 7])).into(), "c d.tiff");
        save(ImageBuffer::from_pixel(2, 2, Rgb([200u8; 3])).into(), "e.bmp");
        std::fs::write(place("notes.txt"), "no image").unwrap();
        std::fs::create_dir(place("sub.png")).unwrap();
        let found = images(folder.path()).unwrap();
        let names = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, ["a.png", "b.PNG", "c d.tiff", "e.bmp"]);
        for path in &found {
            assert_eq!(read_rgb(path).unwrap().get_pixel(1, 1).0, [200; 3], "{}", path.display());
            check_header(path, &read_bytes(path).unwrap()).unwrap();
        }
        std::fs::write(place("f.png"), &std::fs::read(place("a.png")).unwrap()[..20]).unwrap();
        assert!(read_rgb(&place("f.png")).unwrap_err().report().contains("is the file complete?"));
    }
}
