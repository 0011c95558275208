//! The pictures' folder: `RUN/DAY/PART-WHY.ENDING`.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use super::owner::{self, First, Hold};
use super::retention::{Batch, Left, Stock};
use super::{Kept, Why};
use crate::audit::is_synchronised;
use crate::audit::record::wall_time;
use crate::audit::seen::Seen;
use crate::config::PicturesConfig;
use crate::digest::Digest;
use crate::line::PartId;
use crate::time::Monotonic;
use crate::{Error, Result};

pub(in crate::audit) struct Shelf {
    folder: PathBuf,
    run: String,
    stock: Stock,
    hold: Option<Hold>,
    /// The day whose folder is on disk for certain.
    day: Option<String>,
}

impl Shelf {
    /// For a run of the log `log`, whose file is there and begins so.
    ///
    /// # Errors
    ///
    /// The folder, or what is in it, is another log's, the run's cannot be made, or what was kept before cannot be listed.
    pub(in crate::audit) fn open(config: &PicturesConfig, log: &Path, first: First, run: &str) -> Result<Self> {
        let folder = config.folder.clone();
        let failed = |error| owner::unusable(&folder, error);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let hold = Hold::take(&folder, log)?;
        let stock = Stock::take(config).map_err(failed)?;
        hold.suits(first, stock.bytes() > 0)?;
        // Nobody else's pictures are among the run's.
        DirBuilder::new().create(folder.join(run)).map_err(failed)?;
        sync_folder(&folder).map_err(failed)?;
        Ok(Shelf { folder, run: run.to_owned(), stock, hold: Some(hold), day: None })
    }

    /// The runs of which pictures are there.
    pub(in crate::audit) fn runs(&self) -> BTreeSet<&str> {
        self.stock.runs()
    }

    /// What holds the folder against other runs, for who goes when the run does.
    pub(super) fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take()
    }

    /// Writes a part's picture; when this returns it is on disk. A picture that came as a file is kept byte for byte, raw pixels
    /// become a PNG file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn store(&mut self, part: PartId, why: Why, frame: &Seen) -> Result<Kept> {
        let shot = frame.shot();
        let encoded;
        let (bytes, ending) = match (shot.original(), shot.image()) {
            (Some(original), _) => (original.bytes.as_slice(), original.ending.as_str()),
            (None, None) => return Err(Error::device("there is nothing of the picture")),
            (None, Some(image)) => {
                encoded = png(image)?;
                (encoded.as_slice(), "png")
            }
        };
        let day = wall_time(shot.captured())[..10].to_owned();
        let file = format!("{}/{day}/{:08}-{}.{ending}", self.run, part.0, why.as_str());
        let failed = |error| Error::device(format!("picture {file} cannot be written")).because(error);
        self.write(&day, &self.folder.join(&file), bytes).map_err(failed)?;
        self.stock.add(why, &day, &self.run, bytes.len() as u64);
        Ok(Kept { sha256: Digest::of(bytes), pixels_sha256: frame.pixels_sha256(), file })
    }

    fn write(&mut self, day: &str, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let run = self.folder.join(&self.run);
        let folder = run.join(day);
        if self.day.as_deref() != Some(day) || !folder.exists() {
            // The run's folder too: it is removed with the last picture in it.
            DirBuilder::new().recursive(true).create(&folder)?;
            sync_folder(&run)?;
            sync_folder(&self.folder)?;
            self.day = Some(day.to_owned());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder(&folder));
        // A part of a picture is none, and takes room on a disk that has little.
        written.inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    pub(super) fn is_over_full(&self) -> bool {
        self.stock.is_over_full()
    }

    /// What need not be kept any longer.
    pub(super) fn doomed(&mut self) -> Vec<Batch> {
        let today = wall_time(Monotonic::now())[..10].to_owned();
        self.stock.doomed(&self.folder, &today, is_synchronised())
    }

    /// Removes pictures that the log has told of; gives what could not be.
    pub(super) fn remove(&mut self, batch: &Batch) -> Option<Left> {
        self.stock.remove(&self.folder, batch)
    }
}

/// The pixels as a PNG file, which gives exactly them again.
fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub);
    let encoded = encoder.write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8);
    encoded.map_err(|error| Error::device("the frame cannot be encoded").because(error))?;
    Ok(bytes)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
