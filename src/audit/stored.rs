//! The pictures that records name, read again.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::read::PictureEntry;
use crate::digest::Digest;
use crate::{Error, Result, dataset, jpeg, print, regular};

/// What became of a picture.
#[derive(Debug)]
pub enum Stored {
    /// It is what was written, and its pixels are those that were scored.
    Whole(RgbImage),
    /// There is no such file, nor a place where it could be: it was removed since, or never written.
    Gone(String),
    /// It is the file that was written, of which the line could make no picture either.
    Unreadable(String),
    /// It is the file that was written, and this program's decoder reads it otherwise: what was scored is not there to be compared, and
    /// nobody is to be accused.
    Redecoded {
        /// What this program reads; `None` where it can read nothing.
        image: Option<RgbImage>,
        /// That it is so, in words.
        why: String,
    },
    /// It is another file than the record says, or no file at all.
    Changed(String),
}

/// The file that a record names, before anybody looks at what it shows.
#[derive(Debug)]
pub(super) enum Found {
    /// It is what was written, byte for byte, so many of them.
    Whole { path: PathBuf, file: File, bytes: u64 },
    /// As [`Stored::Gone`].
    Gone(String),
    /// As [`Stored::Changed`].
    Changed(String),
}

/// Reads the picture that `picture` tells of, below the pictures' folder.
///
/// # Errors
///
/// The file is there and cannot be read.
pub fn read_picture(folder: &Path, picture: &PictureEntry) -> Result<Stored> {
    let (path, mut file, length) = match find(folder, picture)? {
        Found::Whole { path, file, bytes } => (path, file, bytes),
        Found::Gone(why) => return Ok(Stored::Gone(why)),
        Found::Changed(why) => return Ok(Stored::Changed(why)),
    };
    if picture.pixels_sha256.is_none() {
        let why = format!("{} is kept as it came, and could not be read then", print::name(path.display()));
        return Ok(Stored::Unreadable(why));
    }
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(length).read_to_end(&mut bytes));
    read.map_err(|error| unread(&path, error))?;
    // Somebody may write to it at this moment.
    match Some(Digest::of(&bytes)) == picture.sha256 {
        true => Ok(decode(&path, &bytes, picture.pixels_sha256)),
        false => Ok(Stored::Changed(changed(&path))),
    }
}

/// Looks for the file that `picture` names, and compares it with its digest. However large it is, this takes the memory of a buffer.
///
/// # Errors
///
/// As [`read_picture`].
pub(super) fn find(folder: &Path, picture: &PictureEntry) -> Result<Found> {
    let Some(file) = &picture.file else {
        return Ok(Found::Gone(picture.missing.clone().unwrap_or_else(|| "it was not kept".into())));
    };
    // A record is not trusted to name files elsewhere.
    if Path::new(file).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Ok(Found::Changed(format!("{} does not lie in the pictures' folder", print::name(file))));
    }
    let path = folder.join(file);
    let told = print::name(path.display());
    let opened = regular::open(&path).and_then(|file| match file {
        Some(mut file) => Ok(Some((Digest::of_all(&mut file)?, file.stream_position()?, file))),
        None => Ok(None),
    });
    Ok(match opened {
        Ok(Some((digest, bytes, file))) if Some(digest) == picture.sha256 => Found::Whole { path, file, bytes },
        Ok(Some(_)) => Found::Changed(changed(&path)),
        Ok(None) => {
            Found::Changed(format!("{told} is no file: a folder, a pipe, a device or a link to itself is in its place"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Gone(format!("{told} is not there")),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Found::Gone(format!("{told} is not there: a file is in the place of its folder"))
        }
        Err(error) => return Err(unread(&path, error)),
    })
}

/// The digests by which records may name the pixels of the picture in `path`: there are two ways to read a JPEG file (see [`read_picture`]).
///
/// # Errors
///
/// It cannot be read, or is no picture.
pub fn pixels_of(path: &Path) -> Result<Vec<Digest>> {
    let bytes = std::fs::read(path).map_err(|error| unread(path, error))?;
    let marked = jpeg::of_stream(&bytes).map(|marked| dataset::decode_rgb(path, &marked));
    let (plain, marked) = (dataset::decode_rgb(path, &bytes), marked.and_then(Result::ok));
    match (plain, marked) {
        (Err(error), None) => Err(error),
        (plain, marked) => Ok(plain.ok().into_iter().chain(marked).map(|image| Digest::of(image.as_raw())).collect()),
    }
}

fn changed(path: &Path) -> String {
    format!("{} is not the file that was written", print::name(path.display()))
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    Error::device(format!("picture {} cannot be read", print::name(path.display())))
        .because(error)
        .advise("check its permissions")
}

impl Stored {
    /// What this program reads, if that is of the file that was written.
    pub fn image(self) -> Option<RgbImage> {
        match self {
            Stored::Whole(image) => Some(image),
            Stored::Redecoded { image, .. } => image,
            Stored::Gone(_) | Stored::Unreadable(_) | Stored::Changed(_) => None,
        }
    }
}

/// The pixels as they were scored. Pictures of a Motion-JPEG stream lack what every other JPEG file has, so there are two ways
/// to read one; the digest says which was taken.
fn decode(path: &Path, bytes: &[u8], pixels: Option<Digest>) -> Stored {
    let is_it = |image: &RgbImage| Some(Digest::of(image.as_raw())) == pixels;
    let plain = dataset::decode_rgb(path, bytes);
    if let Ok(image) = &plain
        && is_it(image)
    {
        return Stored::Whole(image.clone());
    }
    let marked = jpeg::of_stream(bytes).and_then(|marked| dataset::decode_rgb(path, &marked).ok());
    if let Some(image) = marked.clone().filter(is_it) {
        return Stored::Whole(image);
    }
    let told = format!("{} is the file that was recorded", print::name(path.display()));
    match (plain, marked) {
        (Ok(image), _) | (Err(_), Some(image)) => {
            let why = format!("{told}; this program's decoder reads it otherwise than the one that judged it");
            Stored::Redecoded { image: Some(image), why }
        }
        (Err(error), None) => {
            Stored::Redecoded { image: None, why: format!("{told}; this program cannot read it: {}", error.line()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a record says of a file with these bytes, of which other pixels were scored than this program reads.
    fn recorded(file: &str, bytes: &[u8]) -> PictureEntry {
        PictureEntry {
            why: "reject".into(),
            sampled: None,
            file: Some(file.into()),
            sha256: Some(Digest::of(bytes)),
            pixels_sha256: Some(Digest::of("what another decoder made of it")),
            missing: None,
        }
    }

    fn read(bytes: &[u8]) -> Stored {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("part.png"), bytes).unwrap();
        read_picture(folder.path(), &recorded("part.png", bytes)).unwrap()
    }

    #[test]
    fn what_is_no_file_was_put_in_the_picture_s_place_and_is_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        std::fs::create_dir(at("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("day"), "a file").unwrap();
        std::fs::write(at("whole"), "a file").unwrap();
        for (link, to) in [("device", "/dev/zero"), ("loop", "loop"), ("to-a-pipe", "pipe"), ("to-a-file", "whole")] {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        let read = |file: &str| {
            let (picture, folder) = (recorded(file, b"a file"), folder.path().to_owned());
            let (send, receive) = std::sync::mpsc::channel();
            std::thread::spawn(move || send.send(read_picture(&folder, &picture)));
            receive.recv_timeout(std::time::Duration::from_secs(20)).expect("it is waited for").unwrap()
        };
        for file in ["pipe", "to-a-pipe", "folder", "socket", "loop", "loop/part.png", "device"] {
            let stored = read(file);
            assert!(matches!(&stored, Stored::Changed(why) if why.contains("is no file")), "{file}: {stored:?}");
        }
        let stored = read("day/part.png");
        assert!(
            matches!(&stored, Stored::Gone(why) if why.contains("a file is in the place of its folder")),
            "{stored:?}"
        );
        for file in ["whole", "to-a-file"] {
            let stored = read(file);
            assert!(matches!(&stored, Stored::Redecoded { .. }), "{file}: {stored:?}");
        }
        std::fs::write(at("whole"), "another").unwrap();
        assert!(matches!(read("to-a-file"), Stored::Changed(_)));
    }

    #[test]
    fn a_name_from_a_record_makes_no_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let stored = read_picture(folder.path(), &recorded("gone\nOK all is well\u{1b}[2K", b"")).unwrap();
        assert!(
            matches!(&stored, Stored::Gone(why) if why.contains("gone\\nOK all is well\\u{1b}[2K is not")),
            "{stored:?}"
        );
    }

    #[test]
    fn the_file_that_was_recorded_is_not_a_changed_one_because_another_decoder_reads_it() {
        let image = RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let stored = read(bytes.get_ref());
        assert!(matches!(&stored, Stored::Redecoded { why, .. } if why.contains("is the file that was recorded")));
        assert_eq!(stored.image(), Some(image));
        let unreadable = read(b"a format that only the other knew");
        assert!(matches!(&unreadable, Stored::Redecoded { image: None, why } if why.contains("cannot read it")));
    }
}
