//! Whether lines follow each other as they were written, as far as a search reads them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::vec::IntoIter;

use super::files::LogFile;
use crate::audit::past;
use crate::audit::spot;
use crate::print;

/// What a line begins with.
const SEQ: &[u8] = b"{\"seq\":";

/// The numbers of a file's lines, some of which may be left out.
pub(super) struct Order {
    /// Before these places of what is read something was left out.
    skips: IntoIter<u64>,
    next_skip: Option<u64>,
    /// What was read.
    place: u64,
    /// The number of the line before, and whether it is outside of what is asked for; `None` where that was left out.
    before: Option<(u64, bool)>,
}

impl Order {
    pub(super) fn behind(skips: Vec<u64>) -> Self {
        let mut skips = skips.into_iter();
        Order { next_skip: skips.next(), skips, place: 0, before: None }
    }

    /// The next line, with its line feed. What is missing before it, for people, where that may be asked for: it stands beside a line that is.
    pub(super) fn follow(&mut self, line: &[u8], is_outside: bool) -> Option<String> {
        while self.next_skip.is_some_and(|skip| skip <= self.place) {
            (self.before, self.next_skip) = (None, self.skips.next());
        }
        self.place += line.len() as u64;
        let number = number_of(line);
        let before = std::mem::replace(&mut self.before, number.map(|number| (number, is_outside)));
        let ((last, was_outside), found) = before.zip(number)?;
        (!(is_outside && was_outside)).then(|| gap(last, found)).flatten()
    }

    /// What is missing behind the last line of the closed file `file`, which was read to its end, for people: the file `next`, which was begun
    /// behind it, says what it continues. `is_outside`: whether nobody asks for what is of that time.
    pub(super) fn end(
        &self,
        file: &LogFile,
        next: Option<&LogFile>,
        is_outside: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let number = file.number?;
        let name = print::name(file.path.display());
        let Some((last, was_outside)) = self.before else { return Some(format!("no record is in {name}")) };
        let is_next = |next: &&LogFile| match next.number {
            Some(behind) => number.checked_add(1) == Some(behind),
            None => next.continued() == Some(number),
        };
        let begins = next.filter(is_next)?.beginning()?;
        let told = (!(was_outside && is_outside(&begins.time))).then(|| gap(last, begins.seq)).flatten()?;
        Some(format!("{told}, behind the last one in {name}"))
    }

    /// Whether what stands behind the lines so far may be asked for.
    pub(super) fn is_beside_asked(&self) -> bool {
        self.before.is_none_or(|(_, is_outside)| !is_outside)
    }
}

/// What is wrong between two lines that come one after the other; `None` where the one continues the other.
fn gap(last: u64, found: u64) -> Option<String> {
    let expected = last.checked_add(1).filter(|expected| *expected != found)?;
    Some(match expected < found {
        true => format!("{} before record {found}", spot::missing(&(expected..found))),
        false => format!("record {found} is out of order behind record {last}"),
    })
}

/// The number of a line, without parsing the rest.
fn number_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(SEQ)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

/// Whether the last line of a file is unfinished, and nobody is writing it: what a run writes is whole in a moment.
pub(super) fn is_cut_off(file: &LogFile) -> bool {
    let is_written = file.number.is_none() && past::is_held(&file.path);
    !is_written && (file.is_compressed() || !ends_whole(file).unwrap_or(true))
}

fn ends_whole(file: &LogFile) -> std::io::Result<bool> {
    let (mut file, mut last) = (File::open(&file.path)?, [0]);
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_left_out_is_told_where_it_may_be_asked_for_and_nothing_of_what_was_not_read() {
        let line = |seq: u64| format!("{{\"seq\":{seq},\"kind\":\"note\"}}\n").into_bytes();
        let told = |skips: Vec<u64>, lines: &[(u64, bool)]| {
            let mut order = Order::behind(skips);
            lines.iter().filter_map(|(seq, is_outside)| order.follow(&line(*seq), *is_outside)).collect::<Vec<_>>()
        };
        let inside = |numbers: &[u64]| numbers.iter().map(|number| (*number, false)).collect::<Vec<_>>();
        assert!(told(Vec::new(), &inside(&[7, 8, 9])).is_empty());
        assert_eq!(
            told(Vec::new(), &inside(&[1, 3, 7])),
            ["record 2 is missing before record 3", "records 4 to 6 are missing before record 7"]
        );
        assert_eq!(
            told(Vec::new(), &inside(&[3, 3, 2])),
            ["record 3 is out of order behind record 3", "record 2 is out of order behind record 3"]
        );
        let length = line(1).len() as u64;
        assert_eq!(told(vec![0, length], &inside(&[1, 5, 7])), ["record 6 is missing before record 7"]);
        assert!(told(Vec::new(), &[(1, true), (3, true)]).is_empty());
        assert_eq!(told(Vec::new(), &[(1, true), (3, false)]).len(), 1);
    }
}
