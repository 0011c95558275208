//! The model bundle: a directory that holds one trained model and all that is needed to trust it.
//!
//! | file | content |
//! |---|---|
//! | `model.onnx` | RGB image `[1, 3, H, W]`, 0..255, to `z.l` `[1, D, h, w]` and `logdet.l` `[1, 1, h, w]` of every level; of an imported network `z.l` is a map, D = 1 |
//! | `centers.safetensors` | the mixture of every level, the Gaussians of its cells, and what distances are usual |
//! | `golden.safetensors` | a few normal frames with the outputs that the training host computed |
//! | `trained-on.txt` | the SHA-256 of every image that the model was trained on |
//! | `manifest.toml` | format version, classes, levels, precision, provenance, and the SHA-256 of the files above |
//!
//! `docs/bundle.md` is the format's reference. Nothing is parsed before its digest has been compared.

mod admission;
mod cells;
mod centers;
mod golden;
mod manifest;
mod tensors;
mod trained_on;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use admission::{admit_graph, parse_graph};
pub use cells::{CellGaussians, ClassGaussians};
pub use centers::{Centers, DistanceProfile, LevelCenters, ScoreReference};
pub use golden::{Golden, GoldenFrame};
pub use manifest::{Arithmetic, Distance, FORMAT_VERSION, InputSize, Level, Manifest, ParityBound, Precision};

use crate::digest::Digest;
use crate::{Error, Result, draft, regular};

const MANIFEST: &str = "manifest.toml";
const MODEL: &str = "model.onnx";
const CENTERS: &str = "centers.safetensors";
const GOLDEN: &str = "golden.safetensors";
const TRAINED_ON: &str = "trained-on.txt";
/// Who approved of it (see [`crate::approval`]): of the bundle that it lies in alone.
const SIGNATURE: &str = "manifest.sig";

/// A bundle whose files were read and whose digests hold.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The SHA-256 of `manifest.toml`. The manifest names the digests of all other files, so this names the bundle.
    pub digest: Digest,
    /// The network, as ONNX bytes.
    pub model: Vec<u8>,
    /// The mixture.
    pub centers: Centers,
    /// The frames that a board must reproduce before it may arm.
    pub golden: Golden,
    /// The digests of the images that it was trained on; none where the trainer did not say.
    pub trained_on: Option<BTreeSet<Digest>>,
}

/// What a trainer puts into a bundle. Its format, whether its distances are measured from cells and the digests are filled in
/// when it is written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the bundle says of itself; `format_version`, `distance` (unless it is a map) and `files` are overwritten.
    pub manifest: Manifest,
    /// The network, as ONNX bytes.
    pub model: Vec<u8>,
    /// The mixture.
    pub centers: Centers,
    /// Frames with the outputs that this host computed.
    pub golden: Golden,
    /// The digests of the images that it was trained on, if they are to be told.
    pub trained_on: Option<BTreeSet<Digest>>,
}

impl Bundle {
    /// Reads the bundle in `directory`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, a manifest of a newer format, a digest that does not hold, a file that is not what
    /// its name says, or parts that do not fit together.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::read(&directory.display().to_string(), |name| {
            let path = directory.join(name);
            regular::read(&path, u64::MAX).map_err(|error| {
                Error::device(format!("bundle file {} cannot be read", path.display()))
                    .because(error)
                    .advise("name the directory that hgad-train wrote (it holds manifest.toml and model.onnx)")
            })
        })
    }

    /// Reads a bundle whose files lie in memory: `file(name)` gives their bytes. `origin` is named in errors.
    pub fn read(origin: &str, file: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Self> {
        let manifest_bytes = file(MANIFEST)?;
        let manifest = Manifest::parse(origin, &manifest_bytes)?;
        let verified = |name: &str| -> Result<Vec<u8>> {
            let bytes = file(name)?;
            manifest.verify(origin, name, &bytes)?;
            Ok(bytes)
        };
        let model = verified(MODEL)?;
        let centers = Centers::parse(&manifest, verified(CENTERS)?)?;
        let golden = Golden::parse(&manifest, verified(GOLDEN)?)?;
        let trained_on = match manifest.files.contains_key(TRAINED_ON) {
            true => Some(trained_on::parse(origin, TRAINED_ON, &verified(TRAINED_ON)?)?),
            false => None,
        };
        Ok(Bundle { digest: Digest::of(&manifest_bytes), manifest, model, centers, golden, trained_on })
    }
}

impl Draft {
    /// Refuses a `directory` that holds anything but a bundle: writing one there would delete it. For a trainer to ask
    /// before hours of work.
    ///
    /// # Errors
    ///
    /// There is a file of that name, or a folder with other files than a bundle's.
    pub fn check_place(directory: &Path) -> Result<()> {
        let refused = |why: String| {
            Error::usage(format!("{} cannot become a bundle", directory.display()))
                .because(why)
                .advise("name a folder that does not exist yet, or a bundle that is to be replaced")
        };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(refused(error.to_string())),
        };
        for entry in entries {
            let name = entry.map_err(|error| refused(error.to_string()))?.file_name();
            if ![MODEL, CENTERS, GOLDEN, TRAINED_ON, MANIFEST, SIGNATURE].iter().any(|file| name == *file) {
                return Err(refused(format!("it holds '{}', which would be deleted", name.to_string_lossy())));
            }
        }
        Ok(())
    }

    /// Writes the bundle as `directory`, replacing one that stands there, and reads it back.
    ///
    /// The new bundle is complete and on disk before it takes the old one's name: a reader sees either of them whole.
    ///
    /// # Errors
    ///
    /// As [`Draft::check_place`]; or a file cannot be written.
    pub fn write(mut self, directory: &Path) -> Result<Bundle> {
        Self::check_place(directory)?;
        let failed = |what: &str, path: &Path, error: std::io::Error| {
            Error::device(format!("bundle {}: {what}", path.display())).because(error)
        };
        let mut files = vec![
            (MODEL, self.model),
            (CENTERS, self.centers.serialize()?),
            (GOLDEN, self.golden.serialize(&self.manifest)?),
        ];
        files.extend(self.trained_on.as_ref().map(|digests| (TRAINED_ON, trained_on::serialize(digests))));
        self.manifest.files = files.iter().map(|(name, bytes)| ((*name).to_owned(), Digest::of(bytes))).collect();
        self.manifest.distance = self.centers.distance(self.manifest.distance);
        self.manifest.format_version = self.manifest.oldest_format();
        let manifest = self.manifest.serialize();

        let parent = parent_of(directory);
        std::fs::create_dir_all(&parent).map_err(|error| failed("cannot make its folder", &parent, error))?;
        let staging = tempfile::Builder::new()
            .prefix(".bundle-")
            .tempdir_in(&parent)
            .map_err(|error| failed("cannot make a folder beside it", directory, error))?;
        for (name, bytes) in files.iter().map(|(n, b)| (*n, b.as_slice())).chain([(MANIFEST, manifest.as_bytes())]) {
            write_durably(&staging.path().join(name), bytes)
                .map_err(|error| failed("cannot be written", directory, error))?;
        }
        replace_directory(staging.keep(), directory)
            .map_err(|error| failed("cannot be put in place", directory, error))?;
        Bundle::open(directory)
    }
}

fn parent_of(directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = draft::anew(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives `staging` the name `directory`. An existing directory is exchanged with it in one step, then removed.
fn replace_directory(staging: PathBuf, directory: &Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&staging, std::fs::Permissions::from_mode(0o755))?;
    // What is in it must be there before it has the name.
    draft::sync_folder(&staging.join(MANIFEST))?;
    if !directory.exists() {
        std::fs::rename(&staging, directory)?;
        return draft::sync_folder(directory);
    }
    let old = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    let new = std::ffi::CString::new(staging.as_os_str().as_bytes())?;
    // SAFETY: both are valid NUL-terminated paths that outlive the call.
    let exchanged =
        unsafe { libc::renameat2(libc::AT_FDCWD, new.as_ptr(), libc::AT_FDCWD, old.as_ptr(), libc::RENAME_EXCHANGE) };
    if exchanged != 0 {
        return Err(std::io::Error::last_os_error());
    }
    draft::sync_folder(directory)?;
    std::fs::remove_dir_all(&staging)
}
