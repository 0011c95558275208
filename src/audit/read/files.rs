//! The files of a log: the one that is written, and those before it that were closed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{cannot_be_read, index, seek};
use crate::Result;

/// What a gzip file begins with (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Read at once.
const BUFFER: usize = 1 << 18;

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file.
    pub path: PathBuf,
    /// Its place in the log; `None` for the one that is written.
    pub number: Option<u64>,
}

impl LogFile {
    /// Whether its name says that it is compressed.
    pub(in crate::audit) fn is_compressed(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "gz")
    }

    /// The time of its first line, or the least one of its first lines where a compressed file tells it; `None` when it has none.
    pub(in crate::audit) fn first_time(&self) -> Result<Option<String>> {
        if self.is_compressed()
            && let Some(least) = index::first_time(&self.path).map_err(|error| cannot_be_read(&self.path, error))?
        {
            return Ok(Some(least));
        }
        let mut line = Vec::new();
        let read = open(&self.path)?.read_until(b'\n', &mut line);
        read.map_err(|error| cannot_be_read(&self.path, error))?;
        Ok(seek::time_of(&line).map(str::to_owned))
    }
}

/// The files of the log whose newest is `path`, the oldest first. `path` itself may be missing where a log was carried away in
/// parts.
///
/// # Errors
///
/// There is no such file, or its folder cannot be read.
pub fn files(path: &Path) -> Result<Vec<LogFile>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| cannot_be_read(path, error);
    let mut files = Vec::new();
    // A device or a pipe has no files before it.
    if path.is_file() || !path.exists() {
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(number) = closed_number(path, &entry.file_name().to_string_lossy()) {
                files.push(LogFile { path: entry.path(), number: Some(number) });
            }
        }
    }
    // A file that is being compressed is there twice: `.jsonl` sorts before `.jsonl.gz`, and is the whole one.
    files.sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
    files.dedup_by_key(|file| file.number);
    if path.exists() || files.is_empty() {
        files.push(LogFile { path: path.to_owned(), number: None });
    }
    Ok(files)
}

/// What is to be said of files of a log that are not here, though older and newer ones are.
pub(super) fn missing(files: &[LogFile]) -> Vec<String> {
    let pairs = files.windows(2).filter_map(|pair| Some((&pair[0], pair[0].number?, pair[1].number?)));
    let gaps = pairs.filter(|(_, before, after)| before + 1 < *after);
    gaps.map(|(file, before, after)| match after - before {
        2 => format!("file {} of the log that {} is of is not here", before + 1, file.path.display()),
        _ => {
            format!("files {} to {} of the log that {} is of are not here", before + 1, after - 1, file.path.display())
        }
    })
    .collect()
}

/// The name before, and with, its last dot, and what follows: `audit` and `jsonl`.
fn stem(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem.to_owned(), ending.to_owned()),
        _ => (name, String::from("jsonl")),
    }
}

/// Where the file goes that is closed as number `number`: `audit.000001.jsonl` beside `audit.jsonl`.
pub(in crate::audit) fn closed_name(path: &Path, number: u64) -> PathBuf {
    let (stem, ending) = stem(path);
    path.with_file_name(format!("{stem}.{number:06}.{ending}"))
}

/// The name of the newest file of a log, from that of one of its closed files.
pub(in crate::audit) fn newest_of(closed: &Path) -> Option<PathBuf> {
    let name = closed.file_name()?.to_str()?;
    let (rest, ending) = name.strip_suffix(".gz").unwrap_or(name).rsplit_once('.')?;
    let (stem, _) = rest.rsplit_once('.')?;
    let newest = closed.with_file_name(format!("{stem}.{ending}"));
    closed_number(&newest, name).map(|_| newest)
}

fn closed_number(path: &Path, name: &str) -> Option<u64> {
    let (stem, ending) = stem(path);
    let rest = name.strip_prefix(&stem)?.strip_prefix('.')?;
    let rest = rest.strip_suffix(".gz").unwrap_or(rest);
    let digits = rest.strip_suffix(&ending)?.strip_suffix('.')?;
    (digits.len() >= 6 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Opens a file of a log, compressed or not.
pub(in crate::audit) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let failed = |error| cannot_be_read(path, error);
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).map_err(failed)?);
    let is_gzip = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_in_which_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "audit.jsonl",
            "audit.000002.jsonl.gz",
            "audit.000010.jsonl",
            "audit.000001.jsonl.gz",
            "audit.000010.jsonl.gz",
            "audit.000003.jsonl.gz.partial",
            "audit.1.jsonl",
            "other.000001.jsonl",
            "audit.000001.checkpoint",
        ] {
            std::fs::write(at(name), "").unwrap();
        }
        let found = files(&at("audit.jsonl")).unwrap().into_iter().map(|file| file.path).collect::<Vec<_>>();
        let names = ["audit.000001.jsonl.gz", "audit.000002.jsonl.gz", "audit.000010.jsonl", "audit.jsonl"];
        assert_eq!(found, names.map(at));
        assert_eq!(closed_name(&at("audit.jsonl"), 7), at("audit.000007.jsonl"));
        assert_eq!(closed_name(&at("log"), 7), at("log.000007.jsonl"));
    }
}
