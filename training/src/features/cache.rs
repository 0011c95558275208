//! One file of cached features: a header, then the levels one after the other, each `(image, position, channel)` in
//! native 32-bit floats.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hgad::digest::Digest;
use hgad::{Error, Result};
use memmap2::Mmap;
use prost::Message;
use tempfile::NamedTempFile;

use super::ImageFile;
use crate::backbone::Backbone;

/// Names the format; a change of layout changes it.
const MAGIC: [u8; 16] = *b"hgad features 1\n";
const HEADER: usize = 64;

/// The folder for caches where the user names none: `$XDG_CACHE_HOME/hgad` or `~/.cache/hgad`.
///
/// # Errors
///
/// Neither variable is set.
pub fn default_folder() -> Result<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("hgad")).ok_or_else(|| {
        Error::usage("there is no folder for the feature cache: neither XDG_CACHE_HOME nor HOME is set")
            .advise("name one with --cache")
    })
}

/// What the features of `images` depend on.
pub(super) fn key(backbone: &Backbone, images: &[ImageFile]) -> Digest {
    let graph = backbone.graph.encode_to_vec();
    let size = [backbone.size.width as u64, backbone.size.height as u64].map(u64::to_le_bytes).concat();
    let digests = images.iter().map(|image| image.digest.to_string()).collect::<String>();
    Digest::of_pieces([&MAGIC[..], &Digest::of(graph).to_string().into_bytes(), &size, digests.as_bytes()])
}

/// A cache file that is there, or could be.
pub(super) struct CacheFile {
    folder: PathBuf,
    key: Digest,
    /// Images, positions, channels of every level.
    shapes: Vec<[usize; 3]>,
}

/// A cache file in the making: it takes its name only when it is complete.
pub(super) struct Draft<'f> {
    file: NamedTempFile,
    target: &'f CacheFile,
}

impl CacheFile {
    pub fn new(folder: &Path, key: Digest, shapes: Vec<[usize; 3]>) -> Self {
        CacheFile { folder: folder.to_owned(), key, shapes }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("features-{}.bin", self.key))
    }

    /// The bytes of level `l`.
    pub fn range(&self, l: usize) -> Range<usize> {
        let bytes = |shapes: &[[usize; 3]]| -> usize { shapes.iter().map(|s| s.iter().product::<usize>() * 4).sum() };
        let start = HEADER + bytes(&self.shapes[..l]);
        start..start + bytes(&self.shapes[l..=l])
    }

    fn len(&self) -> usize {
        self.range(self.shapes.len() - 1).end
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..16].copy_from_slice(&MAGIC);
        header[16..24].copy_from_slice(&(self.len() as u64).to_ne_bytes());
        header[24..56].copy_from_slice(&self.key.to_string().as_bytes()[..32]);
        header
    }

    /// Maps the file; `None` when there is none, or one that another layout, another byte order or an accident left
    /// there, which is then written anew.
    pub fn open(&self) -> Result<Option<Mmap>> {
        let path = self.path();
        let failed = |error: std::io::Error| {
            Error::device(format!("feature cache {} cannot be read", path.display()))
                .because(error)
                .advise("delete it, or choose another folder with --cache")
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.len() != self.len() as u64 {
            return Ok(None);
        }
        // SAFETY: the file is complete, and this program replaces cache files but never changes one in place.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(map.starts_with(&self.header()).then_some(map))
    }

    /// Starts to write the file, beside its place and under another name.
    pub fn draft(&self) -> Result<Draft<'_>> {
        let failed = |error: std::io::Error| self.failed(error);
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut file = NamedTempFile::with_prefix_in(".features-", &self.folder).map_err(failed)?;
        file.write_all(&self.header()).map_err(failed)?;
        file.as_file().set_len(self.len() as u64).map_err(failed)?;
        Ok(Draft { file, target: self })
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::device(format!("feature cache {} cannot be written", self.path().display())).because(error).advise(
            format!(
                "it needs {}; choose a folder with room for it with --cache",
                hgad::print::bytes(self.len() as u64)
            ),
        )
    }
}

impl Draft<'_> {
    /// Puts the features `(position, channel)` of one image on level `l` in their place. Threads may write at once.
    pub fn write(&self, l: usize, image: usize, features: &[f32]) -> Result<()> {
        let at = self.target.range(l).start + image * features.len() * 4;
        let bytes = features.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
        self.file.as_file().write_all_at(&bytes, at as u64).map_err(|error| self.target.failed(error))
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<()> {
        self.file.as_file().sync_all().map_err(|error| self.target.failed(error))?;
        self.file.persist(self.target.path()).map_err(|error| self.target.failed(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> CacheFile {
        CacheFile::new(folder, Digest::of("key"), vec![[2, 3, 4], [2, 1, 5]])
    }

    #[test]
    fn features_are_read_back_and_an_unfinished_file_is_never_seen() {
        let folder = tempfile::tempdir().unwrap();
        let cache = file(folder.path());
        assert!(cache.open().unwrap().is_none());
        let draft = cache.draft().unwrap();
        draft.write(1, 1, &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!(cache.open().unwrap().is_none(), "not finished yet");
        draft.finish().unwrap();
        let map = cache.open().unwrap().unwrap();
        let last = &map[cache.range(1)][5 * 4..];
        assert_eq!(bytemuck::cast_slice::<u8, f32>(last), [1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = file(folder.path());
        cache.draft().unwrap().finish().unwrap();
        let bytes = std::fs::read(cache.path()).unwrap();
        std::fs::write(cache.path(), &bytes[..bytes.len() - 1]).unwrap();
        assert!(cache.open().unwrap().is_none(), "cut off");
        std::fs::write(cache.path(), vec![0; bytes.len()]).unwrap();
        assert!(cache.open().unwrap().is_none(), "no header");
    }
}
