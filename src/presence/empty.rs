//! The belt as it looks when nothing lies on it: learned from frames of it, and kept in a file.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};

use super::gate::{Gate, Looks};
use crate::digest::Digest;
use crate::{Error, Result, picture, print};

/// The newest format of the file that this program reads.
const FORMAT_VERSION: u32 = 1;
/// Fewer frames do not tell what is usual.
pub const LEAST_FRAMES: usize = 20;
/// A picture is at most so many cells wide and high: finer ones cost time and tell nothing of a part.
const MOST_CELLS: u32 = 400;
/// A cell is as on the empty belt within so many standard deviations of the frames that it was learned from.
const DEVIATIONS: f32 = 6.0;
/// And within so many levels, by which a camera's noise alone may differ.
const LEAST_TOLERANCE: f32 = 8.0;
/// And within this share of its level: a lamp that ages or warms up is no part.
const LIGHT: f32 = 0.125;
/// A cell that needs more tolerance tells nothing of what lies on it.
const MOST_TOLERANCE: f32 = 64.0;
/// More of the picture may not be so.
const MOST_UNSTEADY: f64 = 0.02;
/// The standard deviation of a normal distribution over its median absolute deviation.
const PER_MAD: f32 = 1.4826;

/// The belt when nothing lies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptyBelt {
    /// Pixels per row and rows of the pictures that it was learned from.
    pub picture: (u32, u32),
    /// How many they were.
    pub frames: usize,
    /// What tells it from another one: the SHA-256 of all that follows from it.
    pub digest: Digest,
    cell: usize,
    /// RGB of each cell, row by row.
    level: Vec<u8>,
    /// How far each may differ.
    tolerance: Vec<u8>,
}

impl EmptyBelt {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, is of a newer format, or is not what was written.
    pub fn open(path: &Path) -> Result<Self> {
        let advice = "learn the empty belt with: hgad camera empty-belt --config FILE";
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("the empty belt {shown} cannot be read")).because(error).advise(advice)
        })?;
        let refused =
            |why: String| Error::device(format!("the empty belt {shown} is not right")).because(why).advise(advice);
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let version: Version = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if version.format_version > FORMAT_VERSION {
            let found = version.format_version;
            return Err(Error::usage(format!("the empty belt {shown} is of format {found}"))
                .advise(format!("this program reads format {FORMAT_VERSION}: update hgad, or learn the belt again")));
        }
        let file: File = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
        file.validate().map_err(refused)
    }

    /// Writes it to `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (columns, rows) = self.cells();
        let in_base64 = |cells: &[u8]| -> Result<String> {
            let picture = RgbImage::from_raw(columns as u32, rows as u32, cells.to_vec()).unwrap_or_default();
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture
                .write_to(&mut bytes, ImageFormat::Png)
                .map_err(|error| Error::device("the empty belt cannot be encoded").because(error))?;
            Ok(BASE64.encode(bytes.into_inner()))
        };
        let file = File {
            format_version: FORMAT_VERSION,
            written_by: concat!("hgad ", env!("CARGO_PKG_VERSION")).into(),
            created: crate::time::stamp(),
            width: self.picture.0,
            height: self.picture.1,
            cell: self.cell as u32,
            frames: self.frames,
            sha256: self.digest,
            level: in_base64(&self.level)?,
            tolerance: in_base64(&self.tolerance)?,
        };
        let failed = |why: String| Error::device(format!("{} cannot be written", path.display())).because(why);
        let text = toml::to_string(&file).map_err(|error| failed(error.to_string()))?;
        std::fs::write(path, text).map_err(|error| failed(error.to_string()))
    }

    fn new(picture: (u32, u32), frames: usize, cell: usize, level: Vec<u8>, tolerance: Vec<u8>) -> Self {
        let sizes = [picture.0, picture.1, cell as u32].map(u32::to_le_bytes).concat();
        let digest = Digest::of([sizes.as_slice(), &level, &tolerance].concat());
        EmptyBelt { picture, frames, digest, cell, level, tolerance }
    }

    /// Pixels per side of a cell.
    pub(super) fn cell(&self) -> usize {
        self.cell
    }

    /// Cells per row, and rows of cells.
    pub(super) fn cells(&self) -> (usize, usize) {
        cells(self.picture, self.cell)
    }

    /// Level and tolerance of a row of cells, three values for each.
    pub(super) fn row(&self, row: usize) -> (&[u8], &[u8]) {
        let width = 3 * self.cells().0;
        let row = row * width..(row + 1) * width;
        (&self.level[row.clone()], &self.tolerance[row])
    }
}

/// Whole cells in a picture: what is left at its right and lower edge is not looked at.
fn cells((width, height): (u32, u32), cell: usize) -> (usize, usize) {
    (width as usize / cell, height as usize / cell)
}

/// The means of the cells `columns` of a row of cells, three values for each.
pub(super) fn reduce(image: &RgbImage, cell: usize, row: usize, columns: std::ops::Range<usize>, into: &mut [u8]) {
    let (width, pixels) = (3 * image.width() as usize, image.as_raw());
    let first = row * cell * width + 3 * columns.start * cell;
    let area = (cell * cell) as u32;
    for (k, mean) in into.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let mut sums = [0u32; 3];
        for line in 0..cell {
            let from = first + line * width + 3 * k * cell;
            for pixel in pixels[from..from + 3 * cell].as_chunks::<3>().0 {
                sums = [0, 1, 2].map(|c| sums[c] + u32::from(pixel[c]));
            }
        }
        *mean = sums.map(|sum| (sum / area) as u8);
    }
}

/// Learns the empty belt from frames of it.
#[derive(Debug)]
pub struct Learner {
    picture: (u32, u32),
    cell: usize,
    /// The cells of each frame.
    frames: Vec<Vec<u8>>,
    last: Option<u64>,
}

impl Learner {
    /// For pictures of that width and height.
    pub fn new(picture: (u32, u32)) -> Self {
        let cell = picture.0.max(picture.1).div_ceil(MOST_CELLS).max(1) as usize;
        Learner { picture, cell, frames: Vec::new(), last: None }
    }

    /// How many frames it has taken.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Takes a frame; says whether it is another one than the last.
    ///
    /// # Errors
    ///
    /// It has another size than the first one.
    pub fn take(&mut self, image: &RgbImage) -> Result<bool> {
        if image.dimensions() != self.picture {
            return Err(Error::device(format!(
                "a frame is {:?} pixels, and the first was {:?}",
                image.dimensions(),
                self.picture
            ))
            .advise("set the camera's width and height in the line's file"));
        }
        let print = picture::fingerprint(image);
        if self.last.replace(print) == Some(print) {
            return Ok(false);
        }
        let (columns, rows) = cells(self.picture, self.cell);
        let mut frame = vec![0; 3 * columns * rows];
        for (row, into) in frame.chunks_exact_mut(3 * columns).enumerate() {
            reduce(image, self.cell, row, 0..columns, into);
        }
        self.frames.push(frame);
        Ok(true)
    }

    /// What the frames have in common, and how far they differ; `gates` are what will be looked at of it.
    ///
    /// # Errors
    ///
    /// They are too few, differ too much, or something lies on the belt in one of them.
    pub fn finish(self, gates: &[Looks]) -> Result<EmptyBelt> {
        if self.frames.len() < LEAST_FRAMES {
            return Err(Error::check(format!(
                "{} of the empty belt are too few to tell what is usual",
                print::counted(self.frames.len() as u64, "different frame")
            ))
            .advise(format!("take at least {LEAST_FRAMES}, of a belt that moves (--frames)")));
        }
        let values = 3 * cells(self.picture, self.cell).0 * cells(self.picture, self.cell).1;
        let (mut level, mut tolerance) = (vec![0; values], vec![0; values]);
        let (mut column, mut unsteady) = (Vec::with_capacity(self.frames.len()), 0usize);
        for k in 0..values {
            column.clear();
            column.extend(self.frames.iter().map(|frame| frame[k]));
            let (usual, deviation) = spread(&mut column);
            let wanted = (DEVIATIONS * deviation).max(LEAST_TOLERANCE + LIGHT * f32::from(usual));
            unsteady += usize::from(DEVIATIONS * deviation > MOST_TOLERANCE);
            (level[k], tolerance[k]) = (usual, wanted.min(MOST_TOLERANCE).ceil() as u8);
        }
        if unsteady as f64 > MOST_UNSTEADY * values as f64 {
            let share = 100.0 * unsteady as f64 / values as f64;
            return Err(Error::check(format!("{share:.0} % of the picture is never the same: that is no empty belt"))
                .advise("take everything off the belt, and switch off the camera's automatic exposure and gain"));
        }
        let belt = EmptyBelt::new(self.picture, self.frames.len(), self.cell, level, tolerance);
        self.check(belt, gates)
    }

    /// The frames must show nothing on the belt that was learned from them.
    fn check(&self, belt: EmptyBelt, gates: &[Looks]) -> Result<EmptyBelt> {
        let belt = std::sync::Arc::new(belt);
        let width = 3 * belt.cells().0;
        for looks in gates {
            let mut gate = Gate::new(belt.clone(), looks.clone()).map_err(Error::usage)?;
            let occupied = |frame: &&Vec<u8>| {
                !gate
                    .segments(|row, columns, into| {
                        into.copy_from_slice(&frame[row * width..][3 * columns.start..3 * columns.end]);
                    })
                    .is_empty()
            };
            let occupied = self.frames.iter().filter(occupied).count();
            if occupied > 0 {
                return Err(Error::check(format!(
                    "{occupied} of {} show something on the belt",
                    print::counted(self.frames.len() as u64, "frame")
                ))
                .advise("take everything off the belt and let it run: also a shadow that comes and goes, and a seam of the belt, are seen as parts"));
            }
        }
        Ok(std::sync::Arc::unwrap_or_clone(belt))
    }
}

/// Median and standard deviation, the latter from the median absolute deviation.
fn spread(values: &mut [u8]) -> (u8, f32) {
    let middle = values.len() / 2;
    let median = *values.select_nth_unstable(middle).1;
    values.iter_mut().for_each(|value| *value = value.abs_diff(median));
    // Where most frames agree to the level, what is left still says something: a mean of the deviations is never less.
    let mean = values.iter().map(|value| f32::from(*value)).sum::<f32>() / values.len() as f32;
    let deviation = *values.select_nth_unstable(middle).1;
    (median, (PER_MAD * f32::from(deviation)).max(mean))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format_version: u32,
    written_by: String,
    created: String,
    width: u32,
    height: u32,
    cell: u32,
    frames: usize,
    sha256: Digest,
    level: String,
    tolerance: String,
}

impl File {
    fn validate(&self) -> std::result::Result<EmptyBelt, String> {
        let (picture, cell) = ((self.width, self.height), self.cell as usize);
        if cell == 0 || cells(picture, cell).0 == 0 || cells(picture, cell).1 == 0 {
            return Err(format!("cells of {cell} pixels do not fit a picture of {}x{}", self.width, self.height));
        }
        let expected = cells(picture, cell);
        let read = |text: &str, what: &str| {
            let bytes = BASE64.decode(text).map_err(|error| format!("{what} is not base64: {error}"))?;
            let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png);
            let picture = picture.map_err(|error| format!("{what} is no PNG picture: {error}"))?.to_rgb8();
            match (picture.width() as usize, picture.height() as usize) == expected {
                true => Ok(picture.into_raw()),
                false => Err(format!("{what} has another size than the rest of the file says")),
            }
        };
        let belt = EmptyBelt::new(
            picture,
            self.frames,
            cell,
            read(&self.level, "level")?,
            read(&self.tolerance, "tolerance")?,
        );
        match belt.digest == self.sha256 {
            true => Ok(belt),
            false => Err("it was changed after it was written: its SHA-256 is another".into()),
        }
    }
}
