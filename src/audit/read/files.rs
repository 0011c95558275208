//! The files of a log: the one that is written, and those before it that were closed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use super::cannot_be_read;
use super::line::{lines, next_line};
use super::misnamed::misnamed_told;
use crate::audit::astray::kept_told;
use crate::audit::chain::{self, Envelope};
use crate::audit::course::time_of;
use crate::digest::Digest;
use crate::draft::folder_of;
use crate::{Error, Result, print, regular};

/// What a gzip file begins with (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What the name of a compressed file ends with.
pub(super) const GZ: &str = ".gz";
/// What the names of files end with that people pack, with a program or another. None of the names is among them under which a run, or a
/// command that it gives, keeps something for a while (`.partial`, `.changed`).
const PACKINGS: [&str; 8] = ["", GZ, ".zst", ".xz", ".bz2", ".lz4", ".lzma", ".zip"];
/// What every line of an audit has.
const SEQ: &[u8] = b"\"seq\":";
/// Read at once.
pub(super) const BUFFER: usize = 1 << 18;
/// Read at once of a file of which the first line is enough.
const GLANCE: usize = 1 << 13;

/// While a run closes a file, the log has no newest one for less than this.
const MOMENT: Duration = Duration::from_millis(50);

/// The number of a closed file has no more digits.
const MOST_DIGITS: usize = 18;
/// The last number that a closed file can have: nothing is closed behind it.
pub(in crate::audit) const LAST_NUMBER: u64 = 10_u64.pow(MOST_DIGITS as u32) - 1;
/// Links that lead from one to the other before they are said to go in circles, as in Linux.
const MOST_LINKS: usize = 40;

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

    /// The time of its first line; `None` when it has none.
    pub(in crate::audit) fn first_time(&self) -> Result<Option<String>> {
        Ok(time_of(&self.first_line()?).map(str::to_owned))
    }

    /// The number of the file that was closed when it began, as its first line says; `None` where it says none.
    pub(in crate::audit) fn continued(&self) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Continued {
            file: String,
        }
        let told = serde_json::from_slice::<Continued>(&self.first_line().ok()?).ok()?;
        closed_number(&self.newest()?, &told.file)
    }

    /// Whether its number is the one behind that of the file that was closed when it began, as of a closed file that nobody renamed.
    fn bears_own_name(&self) -> bool {
        self.number.is_some() && self.number == Some(self.continued().map_or(1, |before| before.saturating_add(1)))
    }

    /// Which log it is of: the hash of that log's first line, which its own first line has or says; `None` where that says none, or is not
    /// as it was written.
    pub(in crate::audit) fn log(&self) -> Option<Digest> {
        self.beginning()?.own_log()
    }

    /// Its first record; `None` where that is not as it was written, or cannot be read.
    pub(in crate::audit) fn beginning(&self) -> Option<Envelope> {
        Envelope::open(self.first_line().ok()?.strip_suffix(b"\n")?).ok()
    }

    /// Whether its first line says that the file `before` was closed when it began.
    fn continues(&self, before: &LogFile) -> bool {
        self.continued().is_some_and(|told| before.number == Some(told))
    }

    /// Whether its first line continues the last one of the file `before`, which is read whole.
    fn goes_on_from(&self, before: &LogFile) -> bool {
        let numbered = |line: &[u8]| serde_json::from_slice::<Numbered>(line).ok();
        let last = open(&before.path).ok().and_then(|file| lines(file).map_while(Result::ok).last());
        let first = self.first_line().ok().and_then(|line| numbered(&line));
        first.zip(last.and_then(|line| numbered(&line))).is_some_and(|(first, last)| first.follows(&last))
    }

    /// The name of the log's newest file.
    fn newest(&self) -> Option<PathBuf> {
        match self.number {
            None => Some(self.path.clone()),
            Some(_) => newest_of(&self.path),
        }
    }

    /// Its first line, with its line feed where it has one.
    pub(super) fn first_line(&self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let read = next_line(&mut opened(&self.path, GLANCE)?, &mut line);
        read.map_err(|error| cannot_be_read(&self.path, error))?;
        Ok(line)
    }
}

/// The files of the log whose newest is `path`, the oldest first. `path` itself may be missing where a log was carried away in
/// parts. [`strangers`] are not among them.
///
/// # Errors
///
/// There is no such file, or its folder cannot be read.
pub fn files(path: &Path) -> Result<Vec<LogFile>> {
    Ok(told_apart(path)?.0)
}

/// A file that bears a name of a log and is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The file.
    pub path: PathBuf,
    /// The file of the log that begins with the same record.
    pub twin: Option<Twin>,
}

/// The file of a log that begins with the same record as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// That file.
    pub of: PathBuf,
    /// Whether the other one repeats its records, all of them or the first ones; if not, one of both is not what was written.
    pub is_repeated: bool,
}

impl Stranger {
    fn beside(path: PathBuf, of: &LogFile) -> Self {
        // What cannot be read is not known to be a copy.
        let is_repeated = repeats(&path, &of.path).unwrap_or(false);
        Stranger { path, twin: Some(Twin { of: of.path.clone(), is_repeated }) }
    }

    /// Whether it begins as a file of the log does and goes on otherwise.
    pub(in crate::audit) fn contradicts(&self) -> bool {
        self.twin.as_ref().is_some_and(|twin| !twin.is_repeated)
    }
}

/// Whether a file holds what another one of the log begins with, compressed or not.
fn repeats(copy: &Path, of: &Path) -> Result<bool> {
    let (mut copied, mut own) = (open(copy)?, open(of)?);
    loop {
        let piece = copied.fill_buf().map_err(|error| cannot_be_read(copy, error))?;
        let beside = own.fill_buf().map_err(|error| cannot_be_read(of, error))?;
        let both = piece.len().min(beside.len());
        match both {
            0 => return Ok(piece.is_empty()),
            _ if piece[..both] != beside[..both] => return Ok(false),
            _ => {}
        }
        copied.consume(both);
        own.consume(both);
    }
}

/// What somebody put beside the log in `path` under a name that the log gives its closed files, or will give one: it comes after the
/// last file that was closed, and holds nothing of the log; or it begins as another file does.
///
/// # Errors
///
/// As [`files`].
pub fn strangers(path: &Path) -> Result<Vec<Stranger>> {
    Ok(told_apart(path)?.1)
}

/// What is to be said of strangers, and done.
pub(in crate::audit) fn told_of(strangers: &[Stranger]) -> Option<String> {
    let told = |stranger: &Stranger| {
        let twin = stranger.twin.as_ref().map(|Twin { of, is_repeated }| match (print::name(of.display()), is_repeated) {
            (of, true) => format!(" (a copy of {of}, whose records it repeats)"),
            (of, false) => {
                format!(" (it begins with the same record as {of} and goes on otherwise: one of both is not what was written)")
            }
        });
        format!("{}{}", print::name(stranger.path.display()), twin.unwrap_or_default())
    };
    let names = strangers.iter().map(told).collect::<Vec<_>>();
    let are = if names.len() == 1 {
        "bears a name of this log and is no part of it: move it"
    } else {
        "bear names of this log and are no part of it: move them"
    };
    (!names.is_empty())
        .then(|| format!("{} {are} away, or the file that is closed under such a name cannot be", names.join(", ")))
}

/// So often a log's files are listed again that get other names meanwhile.
const LISTINGS: usize = 5;

/// A log's files, and strangers. One that is gone by now is none: a run compressed it after it was listed.
fn told_apart(path: &Path) -> Result<(Vec<LogFile>, Vec<Stranger>)> {
    let mut found = told_apart_once(path)?;
    for _ in 1..LISTINGS {
        if found.1.iter().all(|stranger| stranger.path.symlink_metadata().is_ok()) {
            break;
        }
        found = told_apart_once(path)?;
    }
    Ok(found)
}

/// The same as one listing has them.
fn told_apart_once(path: &Path) -> Result<(Vec<LogFile>, Vec<Stranger>)> {
    let mut strangers = Vec::new();
    let mut files = Vec::<(LogFile, Beginning)>::new();
    for file in named(path)? {
        // A pipe is not read, which would wait for who writes it: it has no files before it either.
        let begins = if file.path.is_file() { Beginning::of(&file.path) } else { Beginning::Other };
        let is_same = |(_, other): &&(LogFile, Beginning)| other.is_line_of(&begins);
        match files.iter().rposition(|other| is_same(&other)) {
            // The newest one is always the log's: that which bears its name already was copied from it.
            Some(place) if file.number.is_none() || file.bears_own_name() && !files[place].0.bears_own_name() => {
                let (copy, _) = files.remove(place);
                strangers.push(Stranger::beside(copy.path, &file));
                files.push((file, begins));
            }
            Some(place) => strangers.push(Stranger::beside(file.path, &files[place].0)),
            None => files.push((file, begins)),
        }
    }
    if let Some((newest, begins)) = files.pop_if(|(file, _)| file.number.is_none()) {
        if let Beginning::Line { seq, .. } = begins {
            let own = files.iter().rposition(|(_, begins)| !begins.is_strange(seq)).map_or(0, |last| last + 1);
            // What stands where the file should be that the newest continues may be that file, changed: that is told as a change.
            if own > 0 || seq == 0 {
                let is_strange =
                    |(file, _): &mut (LogFile, Beginning)| !(newest.continues(file) && file.path.is_file());
                let others = files.extract_if(own.., is_strange);
                strangers.extend(others.map(|(file, _)| Stranger { path: file.path, twin: None }));
            }
        }
        files.push((newest, begins));
    }
    strangers.sort_by(|one, other| one.path.cmp(&other.path));
    Ok((files.into_iter().map(|(file, _)| file).collect(), strangers))
}

/// What a file begins with.
enum Beginning {
    /// A line of an audit, its number, and its hash.
    Line { seq: u64, hash: Option<Digest> },
    /// What was one, perhaps: it was changed, or the line behind it does not follow it, so that one of both was put there.
    Likely,
    /// Something else.
    Other,
}

/// What tells a line's place in its log.
#[derive(serde::Deserialize)]
struct Numbered {
    #[serde(deserialize_with = "chain::number")]
    seq: u64,
    prev: Option<Digest>,
    hash: Option<Digest>,
}

impl Numbered {
    fn follows(&self, before: &Numbered) -> bool {
        before.seq.checked_add(1) == Some(self.seq) && (before.hash.is_none() || before.hash == self.prev)
    }
}

impl Beginning {
    fn of(path: &Path) -> Self {
        let (mut line, mut behind) = (Vec::new(), Vec::new());
        if !path.is_file() {
            return Beginning::Other;
        }
        let read = opened(path, GLANCE).map(|file| {
            let mut file = file.take(BUFFER as u64);
            let first = file.read_until(b'\n', &mut line);
            first.and_then(|_| file.read_until(b'\n', &mut behind))
        });
        if !matches!(read, Ok(Ok(_))) {
            return Beginning::Likely;
        }
        if let Ok(first) = serde_json::from_slice::<Numbered>(&line) {
            let behind = serde_json::from_slice::<Numbered>(&behind);
            return match behind.is_ok_and(|behind| !behind.follows(&first)) {
                true => Beginning::Likely,
                false => Beginning::Line { seq: first.seq, hash: first.hash },
            };
        }
        // Also in an encoding of two bytes a character, which an editor may have made of it.
        line.retain(|byte| *byte != 0);
        let is_likely = line.windows(SEQ.len()).any(|bytes| bytes == SEQ);
        if is_likely { Beginning::Likely } else { Beginning::Other }
    }

    /// Whether both are the same line.
    fn is_line_of(&self, other: &Beginning) -> bool {
        match (self, other) {
            (Beginning::Line { seq, hash: Some(hash) }, Beginning::Line { seq: other, hash: Some(also) }) => {
                seq == other && hash == also
            }
            _ => false,
        }
    }

    /// Whether it cannot be of a file before the one that begins with line `newest`.
    fn is_strange(&self, newest: u64) -> bool {
        match self {
            Beginning::Line { seq, .. } => newest > 0 && *seq >= newest,
            Beginning::Likely => false,
            Beginning::Other => true,
        }
    }
}

/// The file itself that a link names, or will name once it is made: a log's files lie beside that, on its disk. What is no link, or one
/// to something that is no file, stays as it is.
pub(crate) fn real(path: &Path) -> PathBuf {
    let mut real = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(to) = std::fs::read_link(&real) else { break };
        real = folder_of(&real).join(to);
    }
    // A descriptor of a pipe or of a removed file (`/dev/stdin`) names nothing that is there.
    let is_same = path.is_file() && real.is_file() || !path.exists() && !real.is_symlink();
    if real != path && is_same { real } else { path.to_owned() }
}

/// What is to be said of closed files that bear another name than that under which the file behind them says that they were closed.
pub(in crate::audit) fn renamed(files: &[LogFile]) -> Vec<String> {
    let name = |path: &Path| print::name(path.file_name().unwrap_or_default().to_string_lossy());
    let pairs = files.windows(2).filter(|pair| pair[0].number.is_some());
    let renamed = pairs.filter_map(|pair| {
        let told = pair[1].continued().filter(|told| pair[0].number != Some(*told))?;
        // Else that one is whole, and another is missing behind it: under its name it would stand in that one's way.
        if !pair[1].goes_on_from(&pair[0]) {
            return None;
        }
        let was = closed_name(&pair[1].newest()?, told);
        Some(format!("{} was closed as {}: give it that name back", name(&pair[0].path), name(&was)))
    });
    renamed.collect()
}

/// All files that bear names of the log in `path`.
pub(super) fn named(path: &Path) -> Result<Vec<LogFile>> {
    let path = &real(path);
    let numbered = beside(path)?.into_iter().filter_map(|(file, name)| Some((file, closed_number(path, &name)?)));
    let mut files = numbered.map(|(path, number)| LogFile { path, number: Some(number) }).collect::<Vec<_>>();
    // A file that is being compressed is there twice: `.jsonl` sorts before `.jsonl.gz`, and is the whole one.
    files.sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
    files.dedup_by_key(|file| file.number);
    if path.exists() || files.is_empty() {
        files.push(LogFile { path: path.to_owned(), number: None });
    }
    Ok(files)
}

/// What lies in the folder of the log in `path`, each with its name. A device or a pipe has nothing beside it.
pub(super) fn beside(path: &Path) -> Result<Vec<(PathBuf, String)>> {
    if path.exists() && !path.is_file() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder_of(path))
        .and_then(|entries| entries.map(|entry| entry.map(|entry| (entry.path(), entry.file_name()))).collect());
    let entries: Vec<(_, OsString)> = entries.map_err(|error| cannot_be_read(path, error))?;
    Ok(entries.into_iter().map(|(file, name)| (file, name.to_string_lossy().into_owned())).collect())
}

/// Files that are not here between two that are, where the one does not continue the other.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::audit) enum Gap {
    /// These, for people.
    Files(String),
    /// None: the two were closed and begun one after the other.
    None,
    /// The second was written under another name: this one.
    Renamed(String),
    /// Nobody knows.
    Unknown,
}

impl Gap {
    /// Between the closed file `before` and `next`, whose first record says that it comes after the file `closed`.
    pub(in crate::audit) fn between(before: &LogFile, next: &LogFile, closed: Option<&str>) -> Self {
        let (Some(number), Some(newest)) = (before.number, next.newest()) else { return Gap::Unknown };
        // What a record says is not believed to be more than a name of the log.
        let told = closed.and_then(|closed| closed_number(&newest, closed));
        let last = next.number.map(|next| next - 1);
        match last.or(told) {
            last if last.zip(told).is_some_and(|(last, told)| last != told) => {
                let own = closed_name(&newest, told.unwrap_or_default() + 1);
                Gap::Renamed(own.file_name().unwrap_or_default().to_string_lossy().into_owned())
            }
            Some(last) if last > number => Gap::Files(not_here(&newest, before, next, number + 1..=last)),
            Some(last) if last == number => Gap::None,
            _ => Gap::Unknown,
        }
    }
}

fn not_here(newest: &Path, before: &LogFile, next: &LogFile, numbers: RangeInclusive<u64>) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (first, last) = (name(&closed_name(newest, *numbers.start())), name(&closed_name(newest, *numbers.end())));
    let between = format!("between {} and {}", name(&before.path), name(&next.path));
    match first == last {
        true => format!("the file {first}, {between}, is not here"),
        false => format!("the files {first} to {last}, {between}, are not here"),
    }
}

/// What is to be said of files of a log that are not here, though older and newer ones are, as far as their numbers tell it.
pub(in crate::audit) fn missing(files: &[LogFile]) -> Vec<String> {
    missing_between(files).map(|(_, told)| told).collect()
}

/// That what was looked for in vain may be in files of the log in `path` that are not here, though older and newer ones are, or that hold no
/// record any more, and which these are. `record`: its number, where that is known, which tells in which of them. `None` where none are missing, or it is in none of them.
///
/// # Errors
///
/// As [`files`].
pub fn may_be_missing(path: &Path, record: Option<u64>) -> Result<Option<String>> {
    let files = files(path)?;
    let begins = |file: &LogFile| file.beginning().map(|first| first.seq);
    let may_hold = |before: Option<&LogFile>, next: Option<&LogFile>| {
        record.is_none_or(|record| {
            before.and_then(begins).is_none_or(|first| first <= record)
                && next.and_then(begins).is_none_or(|first| record < first)
        })
    };
    let gone = missing_between(&files).filter(|([before, next], _)| may_hold(Some(before), Some(next)));
    let emptied = files.iter().enumerate().filter(|(place, file)| {
        let before = place.checked_sub(1).and_then(|before| files.get(before));
        files.len() > 1 && is_empty(file) && may_hold(before, files.get(place + 1))
    });
    let emptied = emptied.map(|(_, file)| format!("{} holds no record any more", print::name(file.path.display())));
    let newest = (is_newest_gone(path) && may_hold(files.last(), None))
        .then(|| format!("{}, the newest file of the log, is not here", print::name(path.display())));
    let missing = gone.map(|(_, told)| told).chain(emptied).chain(newest);
    Ok(missing.reduce(|all, told| format!("{all}; {told}")).map(|told| format!("it may be in what is missing: {told}")))
}

/// Whether closed files alone are here of the log in `path`. While a run closes one, nothing bears that name for a moment.
pub(super) fn is_newest_gone(path: &Path) -> bool {
    let is_gone = || newest_of(path).is_none() && !path.exists();
    is_gone() && {
        std::thread::sleep(MOMENT);
        is_gone()
    }
}

/// Whether a file holds not even a first line.
fn is_empty(file: &LogFile) -> bool {
    file.path.is_file() && file.first_line().is_ok_and(|line| line.is_empty())
}

/// What is missing, and the two files that it is between.
fn missing_between(files: &[LogFile]) -> impl Iterator<Item = (&[LogFile; 2], String)> {
    // A number may have been left out: what the second says that it continues is the first then.
    let is_left_out = |before: &LogFile, next: &LogFile| {
        next.number > before.number.map(|number| number + 1) && next.continues(before)
    };
    files.array_windows().filter_map(move |between| {
        let [before, next] = between;
        let gap = match next.number {
            Some(_) if is_left_out(before, next) => Gap::None,
            Some(_) => Gap::between(before, next, None),
            None => before_newest(before, next),
        };
        if let Gap::Files(told) = gap { Some((between, told)) } else { None }
    })
}

/// Between the last closed file and the newest, which has no number, and says itself which one was closed when it began.
fn before_newest(last: &LogFile, newest: &LogFile) -> Gap {
    let Some(told) = newest.continued().filter(|told| Some(*told) > last.number) else { return Gap::None };
    let closed = closed_name(&newest.path, told);
    // A run may have closed it at this moment; or the last one bears another name than its own.
    if closed.exists() || closed.with_added_extension("gz").exists() || newest.goes_on_from(last) {
        return Gap::None;
    }
    let closed = closed.file_name().map(|name| name.to_string_lossy().into_owned());
    Gap::between(last, newest, closed.as_deref())
}

/// What is to be said to whoever continues the log, and done, of files that are missing, or of those that bear another name than their own;
/// `None` where there are none.
pub(in crate::audit) fn missing_told(path: &Path) -> Result<Option<String>> {
    let files = files(path)?;
    let missing = missing(&files);
    let missing = (!missing.is_empty())
        .then(|| format!("{}: put back what is missing; hgad audit verify fails until then", missing.join("; ")));
    // Of the last closed file alone: the next one is numbered after it.
    let renamed = renamed(&files[files.len().saturating_sub(2)..]);
    let told =
        missing.into_iter().chain(renamed).chain(misnamed_told(path)?).chain(kept_told(path)).collect::<Vec<_>>();
    Ok((!told.is_empty()).then(|| told.join("; ")))
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

/// The number of a closed file of the log in `path`, by its name.
pub(super) fn closed_number(path: &Path, name: &str) -> Option<u64> {
    let (digits, _) = numbered(path, name).filter(|(_, packing)| ["", GZ].contains(packing))?;
    // With more digits it is nobody's but somebody's who wants counting on to fail. A number is written in one way, that of [`closed_name`]:
    // a second file of the number would stand before the one that was closed.
    let is_canonical = |number: &u64| format!("{number:06}") == digits;
    digits.parse().ok().filter(is_canonical).filter(|_| digits.len() <= MOST_DIGITS)
}

/// The digits of a name that looks like one of a closed file of the log in `path`, and the ending of what packed it: `000001` and `.gz`.
pub(super) fn numbered<'n>(path: &Path, name: &'n str) -> Option<(&'n str, &'n str)> {
    let (stem, ending) = stem(path);
    let (digits, rest) = name.strip_prefix(&stem)?.strip_prefix('.')?.split_once('.')?;
    let packing = rest.strip_prefix(&ending)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && PACKINGS.contains(&packing)).then_some((digits, packing))
}

/// Opens a file of a log, compressed or not.
pub(in crate::audit) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    opened(path, BUFFER)
}

/// The same; so much is read at once.
fn opened(path: &Path, buffer: usize) -> Result<Box<dyn BufRead>> {
    let failed = |error| cannot_be_read(path, error);
    // The log itself may be a pipe, which is read once; what was closed is none, and nobody would end one that is in its place.
    let file = match newest_of(path) {
        None => File::open(path).map_err(failed)?,
        Some(_) => regular::open(path).map_err(failed)?.ok_or_else(|| no_closed_file(path))?,
    };
    let mut file = BufReader::with_capacity(buffer, file);
    let is_gzip = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(buffer, MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// Something else is in the place of a closed file, of whose lines nothing is known then.
fn no_closed_file(path: &Path) -> Error {
    let name = print::name(path.display());
    let packed = path.with_added_extension("gz");
    let instead = match packed.is_file() {
        true => format!("{} beside it is of the same number, and is read then", print::name(packed.display())),
        false => "put the closed file back under that name, compressed or not, from where closed files are carried to (an archive, a backup)"
            .to_owned(),
    };
    Error::device(format!("{name} bears the name of a closed file of the log and cannot be read"))
        .because(format!("it is {}, and what a run closes is a file: somebody put it there", regular::what_is(path)))
        .advise(format!("find out who did, and move it away; {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bears_a_name_of_the_log_and_is_no_part_of_it_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        let apart = || {
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy()[6..12].to_owned();
            let files = files(&at("audit.jsonl")).unwrap().into_iter().filter(|file| file.number.is_some());
            let own = files.map(|file| name(&file.path)).collect::<Vec<_>>();
            (
                own.join(" "),
                strangers(&at("audit.jsonl"))
                    .unwrap()
                    .iter()
                    .map(|stranger| name(&stranger.path))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        let both = |own: &str, strange: &str| (own.to_owned(), strange.to_owned());
        write("audit.jsonl", "{\"seq\":30,\"kind\":\"continued\"}\n");
        write("audit.000001.jsonl", "{\"seq\":0}\n");
        write("audit.000002.jsonl", "{\"seq\":20}\n");
        assert_eq!(apart(), both("000001 000002", ""));
        // Notes, nothing at all, a folder, and a file of another log that is longer.
        for text in ["my notes\n", "garbage", "", "{\"seq\":31}\n", "{\"other\":1}\n"] {
            write("audit.000003.jsonl", text);
            assert_eq!(apart(), both("000001 000002", "000003"), "{text}");
        }
        std::fs::create_dir(at("audit.000004.jsonl.gz")).unwrap();
        assert_eq!(apart(), both("000001 000002", "000003 000004"));
        // A line of an audit that is changed may be one of this log, and is told as that.
        let wide = "{\"seq\":20}\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for text in [b"\xef\xbb\xbf{\"seq\":20}\n".to_vec(), b"x{\"seq\":20,\n".to_vec(), wide] {
            std::fs::write(at("audit.000003.jsonl"), text).unwrap();
            assert_eq!(apart(), both("000001 000002 000003", "000004"));
        }
        // Nothing else is where the file was that the newest continues: it stays, and whoever reads the log complains.
        for gone in ["audit.000001.jsonl", "audit.000002.jsonl"] {
            std::fs::remove_file(at(gone)).unwrap();
        }
        write("audit.000003.jsonl", "my notes\n");
        assert_eq!(apart(), both("000003 000004", ""));
        // A log that has closed no file yet.
        write("audit.jsonl", "{\"seq\":0,\"kind\":\"start\"}\n");
        assert_eq!(apart(), both("", "000003 000004"));
        assert!(told_of(&strangers(&at("audit.jsonl")).unwrap()).unwrap().contains("move them away"));
    }

    /// With more digits there would be no next number at last.
    #[test]
    fn a_file_s_number_has_eighteen_digits_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let at = |digits: usize| folder.path().join(format!("audit.{}.jsonl", "9".repeat(digits)));
        [5, 6, 18, 19, 20].into_iter().for_each(|digits| std::fs::write(at(digits), "").unwrap());
        let path = folder.path().join("audit.jsonl");
        let numbers = files(&path).unwrap().into_iter().map(|file| file.number).collect::<Vec<_>>();
        assert_eq!(numbers, [Some(999_999), Some(999_999_999_999_999_999)]);
        assert_eq!(closed_name(&path, 999_999_999_999_999_999), at(18));
        assert_eq!([newest_of(&at(18)), newest_of(&at(19))], [Some(path), None]);
    }

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
            "audit.0000001.jsonl",
            "audit.0000010.jsonl.gz",
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
