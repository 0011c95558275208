//! What tools do to a text file and mean no harm by: other line ends, another encoding, a last line feed that is gone. The file is not what
//! was written then, and nobody changed a record: where undoing it makes every hash fit, that can be said.

use std::cell::Cell;
use std::io::{BufRead, Read};
use std::path::Path;
use std::rc::Rc;

use super::read::next_line;

const BOM: &[u8] = b"\xef\xbb\xbf";
const UTF16: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// What was undone.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    line_ends: Cell<bool>,
    mark: Cell<bool>,
    utf16: Cell<bool>,
    empty_lines: Cell<bool>,
    unended: Cell<bool>,
}

impl Undone {
    /// In words; `None` when there was nothing to undo.
    pub(crate) fn told(&self) -> Option<String> {
        let all = [
            (&self.utf16, "text that was encoded anew (UTF-16)"),
            (&self.mark, "a byte order mark that was put before the text"),
            (&self.line_ends, "line ends that were changed to CRLF"),
            (&self.empty_lines, "empty lines that were put in"),
            (&self.unended, "a line feed at the end that is gone"),
        ];
        let found = all.into_iter().filter(|(found, _)| found.get()).map(|(_, told)| told).collect::<Vec<_>>();
        (!found.is_empty()).then(|| found.join(", and "))
    }

    /// The command that undoes it in `file`, and keeps what stood there as `FILE.changed`; `None` when there was nothing to undo.
    pub(crate) fn command(&self, file: &Path) -> Option<String> {
        let edits = [
            // A mark is gone with UTF-16.
            (self.mark.get(), r"1s/^\xef\xbb\xbf//"),
            (self.line_ends.get(), r"s/\r$//"),
            (self.empty_lines.get(), "/^$/d"),
            (self.unended.get(), r"$a\"),
        ];
        let edits = edits.iter().filter(|(is_needed, _)| *is_needed).map(|(_, edit)| format!(" -e '{edit}'"));
        let edits = edits.collect::<String>();
        let is_packed = file.extension().is_some_and(|ending| ending == "gz");
        let steps = [
            is_packed.then(|| "gzip -dc".to_owned()),
            self.utf16.get().then(|| "iconv -f UTF-16 -t UTF-8".to_owned()),
            (!edits.is_empty()).then(|| format!("sed{edits}")),
            is_packed.then(|| "gzip".to_owned()),
        ];
        let (file, changed) = (quoted(file), quoted(&file.with_added_extension("changed")));
        let steps = steps.into_iter().flatten().collect::<Vec<_>>().join(" | ");
        self.told().map(|_| format!("cp {file} {changed} && {{ {steps}; }} < {changed} > {file}"))
    }
}

/// A file's name as a shell takes it.
fn quoted(file: &Path) -> String {
    let name = file.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/+".contains(c);
    if name.chars().all(is_plain) { name.into_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// The command that undoes in `file`, which reads as `lines`, what means no harm; `None` where there is nothing of it.
pub(super) fn command(file: &Path, lines: Box<dyn BufRead>) -> Option<String> {
    let undone = Rc::new(Undone::default());
    let read = undo(lines, undone.clone()).and_then(|mut lines| std::io::copy(&mut lines, &mut std::io::sink()));
    read.ok().and_then(|_| undone.command(file))
}

/// What was undone to a log, and to the checkpoints of it that were kept.
#[derive(Debug, Default, Clone)]
pub(super) struct Undoing {
    pub(super) log: Rc<Undone>,
    pub(super) kept: Rc<Undone>,
}

impl Undoing {
    /// In words; `None` when there was nothing to undo.
    pub(super) fn told(&self) -> Option<String> {
        let kept = self.kept.told().map(|told| format!("{told} (in the checkpoint that was kept)"));
        let all = self.log.told().into_iter().chain(kept).collect::<Vec<_>>();
        (!all.is_empty()).then(|| all.join(", and "))
    }
}

/// A short text with what is undone to it that a log's lines may have, but for empty ones and the end, which a text has as it likes;
/// `None` for what is no text even then.
pub(crate) fn undo_text(bytes: &[u8], undone: &Undone) -> Option<String> {
    let mut file = decoded(Box::new(std::io::Cursor::new(bytes.to_vec())), undone).ok()?;
    let mut text = Vec::new();
    while let chunk = file.fill_buf().ok()?
        && !chunk.is_empty()
    {
        text.extend_from_slice(chunk);
        let taken = chunk.len();
        file.consume(taken);
    }
    let text = String::from_utf8(text).ok()?;
    if text.contains("\r\n") {
        undone.line_ends.set(true);
    }
    Some(text.replace("\r\n", "\n"))
}

/// A file's lines with all of that undone.
pub(super) fn undo(file: Box<dyn BufRead>, undone: Rc<Undone>) -> std::io::Result<Box<dyn BufRead>> {
    let file = decoded(file, &undone)?;
    Ok(Box::new(std::io::BufReader::new(Lines { file, undone, line: Vec::new(), given: 0 })))
}

/// A file as UTF-8 without a mark.
fn decoded(mut file: Box<dyn BufRead>, undone: &Undone) -> std::io::Result<Box<dyn BufRead>> {
    let start = file.fill_buf()?;
    if let Some(order) = UTF16.iter().position(|mark| start.starts_with(mark)) {
        file.consume(2);
        undone.utf16.set(true);
        file = Box::new(std::io::BufReader::new(Utf16 { file, is_big: order == 1, units: Vec::new() }));
    } else if start.starts_with(BOM) {
        file.consume(BOM.len());
        undone.mark.set(true);
    }
    Ok(file)
}

/// Lines that end with a line feed, and no empty ones.
struct Lines {
    file: Box<dyn BufRead>,
    undone: Rc<Undone>,
    line: Vec<u8>,
    /// So many bytes of the line were given.
    given: usize,
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.given == self.line.len() {
            self.line.clear();
            self.given = 0;
            if next_line(&mut self.file, &mut self.line)? == 0 {
                return Ok(0);
            }
            match self.line.pop_if(|last| *last == b'\n') {
                Some(_) => {
                    if self.line.pop_if(|last| *last == b'\r').is_some() {
                        self.undone.line_ends.set(true);
                    }
                }
                None => self.undone.unended.set(true),
            }
            match self.line.is_empty() {
                true => self.undone.empty_lines.set(true),
                false => self.line.push(b'\n'),
            }
        }
        let count = (&self.line[self.given..]).read(into)?;
        self.given += count;
        Ok(count)
    }
}

/// UTF-16 as UTF-8.
struct Utf16 {
    file: Box<dyn BufRead>,
    is_big: bool,
    /// The first half of a character that takes two.
    units: Vec<u16>,
}

impl Read for Utf16 {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        // A character of UTF-8 has four bytes at most; readers of lines ask for more.
        let mut given = 0;
        while into.len() - given >= 4 {
            let mut bytes = [0; 2];
            match self.file.read_exact(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            self.units.push(if self.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) });
            if self.units.len() == 1 && (0xd800..0xdc00).contains(&self.units[0]) {
                continue;
            }
            for character in char::decode_utf16(self.units.drain(..)) {
                let character =
                    character.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
                given += character.encode_utf8(&mut into[given..]).len();
            }
        }
        Ok(given)
    }
}
