//! What a command will write when its work is done: whether that can be is asked before the work begins.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use image::RgbImage;

use crate::draft::{self, folder_of};
use crate::page::GENERATOR;
use crate::{Error, Result};

/// Makes sure that `path` can become a folder with files in it; makes the folder.
///
/// # Errors
///
/// It cannot be made or written.
pub fn folder(path: &Path) -> Result<()> {
    let probe = std::fs::create_dir_all(path).and_then(|()| tempfile::tempfile_in(path).map(drop));
    probe.map_err(|error| {
        Error::device(format!("folder {} cannot be written", path.display()))
            .because(error)
            .advise("name a folder that you may write, on a disk that is not full")
    })
}

/// The same of the folder that the file `path` is to lie in.
///
/// # Errors
///
/// It cannot be made or written.
pub fn folder_for(path: &Path) -> Result<()> {
    folder(folder_of(path))
}

/// What a command writes: what stands in its place must be of the same kind, or a slip of the hand loses what cannot be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A page for people that this program wrote.
    Page,
    /// Figures for programs.
    Json,
    /// A calibration.
    Calibration,
    /// A picture that this program painted.
    Picture,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Content::Page => "page of hgad",
            Content::Json => "JSON file",
            Content::Calibration => "calibration",
            Content::Picture => "picture that hgad painted",
        }
    }

    /// Whether `text`, with which a file begins, is of this kind.
    fn begins(self, text: &[u8]) -> bool {
        match self {
            Content::Page => {
                let is_marked = text.starts_with(b"<!doctype html>") && holds(text, GENERATOR.as_bytes());
                is_marked || OLDER_PAGES.iter().any(|start| text.starts_with(start.as_bytes()))
            }
            // Every line of an audit is JSON too.
            Content::Json => text.trim_ascii_start().starts_with(b"{") && !text.starts_with(b"{\"seq\":"),
            Content::Calibration => {
                // Above the first table: what is set in one is something else.
                let top = text.windows(2).position(|two| two == b"\n[").map_or(text, |end| &text[..end]);
                top.starts_with(b"format_version") && holds(top, b"\nthreshold")
            }
            Content::Picture => text.starts_with(b"\x89PNG") && holds(text, PAINTED),
        }
    }

    /// Makes sure that `path` is free, or holds what may be replaced.
    ///
    /// # Errors
    ///
    /// There is a file of another kind.
    fn may_replace(self, path: &Path) -> Result<()> {
        // To open a pipe would wait for somebody.
        let mut start = Vec::new();
        let read = path.is_file().then(|| File::open(path).and_then(|file| file.take(START).read_to_end(&mut start)));
        if !matches!(read, Some(Ok(_))) || start.iter().all(is_blank) || self.begins(&start) {
            return Ok(());
        }
        let what = format!("{} is there and no {}: it is not overwritten", path.display(), self.name());
        Err(Error::usage(what).advise("name another file to write, or move that one away"))
    }
}

/// How pages began before they named the program.
const OLDER_PAGES: [&str; 2] = [
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>",
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>",
];
/// What stands near the beginning of a picture of [`picture`]: a text of PNG, under one of its known keywords.
const PAINTED: &[u8] = b"tEXtSoftware\0hgad";

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// What a power cut leaves of a file that was just written.
fn is_blank(byte: &u8) -> bool {
    *byte == 0 || byte.is_ascii_whitespace()
}

/// So much of a file is looked at.
const START: u64 = 4096;

/// Makes sure that `path` can be written, and makes its folder; a file that stands there is left as it is.
///
/// # Errors
///
/// It cannot be written, or what stands there must not be lost.
pub fn file(path: &Path, content: Content) -> Result<()> {
    content.may_replace(path)?;
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(failed(path, io::ErrorKind::IsADirectory.into())),
        Ok(found) if found.is_file() => {
            OpenOptions::new().write(true).open(path).map(drop).map_err(|error| failed(path, error))
        }
        // A pipe or a device: to open one does more than to ask.
        Ok(_) => Ok(()),
        Err(_) => folder_for(path),
    }
}

/// Makes sure that a new file can take the place of `path` (as [`crate::calibrate::Calibration::write`] does it: by a rename,
/// which asks for the right to write the folder and not the file), and makes its folder.
///
/// # Errors
///
/// The folder cannot be written, or what stands there is no file that could be replaced, or must not be lost.
pub fn replaced_file(path: &Path, content: Content) -> Result<()> {
    content.may_replace(path)?;
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(failed(path, io::ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => Err(failed(path, io::Error::other("it is a pipe or a device, and no file"))),
        _ => folder_for(path),
    }
}

/// Writes a picture as a PNG file that says what painted it, in a place that [`file`] has found writable.
///
/// # Errors
///
/// It cannot be written any more.
pub fn picture(path: &Path, image: &RgbImage) -> Result<()> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let encoded = encoder.add_text_chunk("Software".to_owned(), "hgad".to_owned()).and_then(|()| {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(image.as_raw())?;
        writer.finish()
    });
    encoded.map_err(|error| {
        Error::device(format!("the picture for {} cannot be encoded", path.display())).because(error)
    })?;
    write(path, &bytes)
}

/// Writes a file that [`file`] has found writable: all of it, or what stood there stays.
///
/// # Errors
///
/// It cannot be written any more.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let content = content.as_ref();
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let written = match real.symlink_metadata() {
        // A pipe or a device; or a link to nothing, which is not to become a file.
        Ok(found) if !found.is_file() => std::fs::write(&real, content),
        // Where no other file can take its place, the one that is there can be written all the same.
        Ok(found) => draft::swap(&real, content, found.permissions()).or_else(|_| std::fs::write(&real, content)),
        Err(_) => draft::replace(&real, content),
    };
    written.map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::device(format!("{} cannot be written", path.display()))
        .because(error)
        .advise("name a file that you may write, on a disk that is not full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_known_before_and_nothing_is_changed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("there"), "{}").unwrap();
        file(&at("there"), Content::Json).unwrap();
        assert_eq!(std::fs::read_to_string(at("there")).unwrap(), "{}");
        file(&at("new/summary.json"), Content::Json).unwrap();
        assert!(at("new").is_dir() && !at("new/summary.json").exists());
        file(Path::new("/dev/null"), Content::Json).unwrap();
        for refused in [root.path().to_owned(), at("there/below.json"), "/proc/none.json".into()] {
            let error = file(&refused, Content::Json).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains("try: "), "{}", error.report());
        }
        assert!(folder(&at("there")).is_err() && folder_for(&at("there/below")).is_err());
    }

    #[test]
    fn only_what_is_of_the_same_kind_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let own = format!("<!doctype html><html>{GENERATOR}");
        picture(&at("painted.png"), &RgbImage::new(3, 2)).unwrap();
        let painted = std::fs::read(at("painted.png")).unwrap();
        assert_eq!(image::load_from_memory(&painted).unwrap().to_rgb8(), RgbImage::new(3, 2));
        let files: [(&str, &[u8], Option<Content>); 13] = [
            ("audit.jsonl", b"{\"seq\":0,\"prev\":\"00\"}\n", None),
            ("audit.000001.jsonl.gz", &[0x1f, 0x8b, 8, 4], None),
            ("line.key", b"PRIVATE+KEY+line-3+0", None),
            ("line.toml", b"format_version = 1\n[line]\nname = \"a\"\n", None),
            ("manifest.toml", b"format_version = 3\n\n[input]\n", None),
            ("page.html", own.as_bytes(), Some(Content::Page)),
            ("older.html", OLDER_PAGES[0].as_bytes(), Some(Content::Page)),
            ("theirs.html", b"<!DOCTYPE html><html>", None),
            ("summary.json", b"{ \"parts\": 1 }", Some(Content::Json)),
            ("cap.toml", b"format_version = 4\nclass = \"cap\"\nthreshold = 2.5\n", Some(Content::Calibration)),
            ("none.toml", b"format_version = 1\n\n[free_run]\nthreshold = 2.5\n", None),
            ("map.png", &painted, Some(Content::Picture)),
            ("photograph.png", b"\x89PNG\r\n\x1a\n", None),
        ];
        for (name, bytes, kind) in files {
            std::fs::write(at(name), bytes).unwrap();
            for content in [Content::Page, Content::Json, Content::Calibration, Content::Picture] {
                for asked in [file(&at(name), content), replaced_file(&at(name), content)] {
                    assert_eq!(asked.is_ok(), kind == Some(content), "{name}, {content:?}");
                    if let Err(error) = asked {
                        assert!(error.kind().exit_code() == 2 && error.report().contains("not overwritten"), "{name}");
                    }
                }
            }
            assert_eq!(std::fs::read(at(name)).unwrap(), bytes);
        }
        write(&at("page.html"), "<!doctype html>new").unwrap();
        assert_eq!(std::fs::read_to_string(at("page.html")).unwrap(), "<!doctype html>new");
    }

    #[test]
    fn a_file_that_is_replaced_needs_a_folder_that_can_be_written_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        const KEPT: &str = "format_version = 4\nclass = \"cap\"\nthreshold = 2.5\n";
        std::fs::write(at("mine"), KEPT).unwrap();
        std::fs::set_permissions(at("mine"), std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        replaced_file(&at("mine"), Content::Calibration).unwrap();
        assert_eq!(std::fs::read_to_string(at("mine")).unwrap(), KEPT);
        replaced_file(&at("new/cap.toml"), Content::Calibration).unwrap();
        assert!(at("new").is_dir() && !at("new/cap.toml").exists());
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for refused in [root.path().to_owned(), at("pipe"), "/dev/null".into()] {
            let error = replaced_file(&refused, Content::Calibration).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains("try: "), "{}", error.report());
        }
    }
}
