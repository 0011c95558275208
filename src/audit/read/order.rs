//! Whether lines follow each other as they were written, as far as a search reads them.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::vec::IntoIter;

use super::files::LogFile;
use crate::audit::chain::Envelope;
use crate::audit::doubtful::Doubtful;
use crate::audit::past;
use crate::audit::spot;
use crate::print;

/// What a line begins with.
const SEQ: &[u8] = b"{\"seq\":";

/// What stands between a line's number and the hash of the line before it, and what between the rest and its own hash.
const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";

/// A hash as a line writes it.
type Digits = [u8; 64];

/// What is wrong between two lines that come one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Some are missing, or these are out of order, as is told here.
    Missing(String),
    /// Their numbers are right, and the second is written behind another one than the first, of these numbers.
    Apart(u64, u64),
}

impl Broken {
    /// Tells `doubtful` of it; `place` says where it is.
    pub(super) fn tell(self, doubtful: &mut Doubtful, place: &str) {
        match self {
            Broken::Missing(told) => doubtful.missing(format!("{told}{place}")),
            Broken::Apart(before, behind) => doubtful.apart(before, behind),
        }
    }
}

/// Where a line is, of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    Within,
    Behind,
}

impl Side {
    /// Of a line of that time, where lines are asked for `from` one time on and up `to` another.
    pub(super) fn of(time: &str, from: Option<&str>, to: Option<&str>) -> Self {
        match (from, to) {
            (Some(from), _) if time < from => Side::Before,
            (_, Some(to)) if time >= to => Side::Behind,
            _ => Side::Within,
        }
    }

    /// Whether what was between a line here and the `next` one may be asked for.
    fn may_ask_up_to(self, next: Side) -> bool {
        self != next || self == Side::Within
    }
}

/// A line that was read.
struct Last {
    number: u64,
    hash: Option<Digits>,
    side: Side,
}

/// The numbers of a file's lines, some of which may be left out, and whether each is written behind the one before.
pub(super) struct Order {
    /// Before these places of what is read something was left out.
    skips: IntoIter<u64>,
    next_skip: Option<u64>,
    /// What was read.
    place: u64,
    /// The line before; `None` where that was left out.
    before: Option<Last>,
}

impl Order {
    pub(super) fn behind(skips: Vec<u64>) -> Self {
        let mut skips = skips.into_iter();
        Order { next_skip: skips.next(), skips, place: 0, before: None }
    }

    /// The next line, with its line feed. What is wrong before it, where that may be asked for.
    pub(super) fn follow(&mut self, line: &[u8], side: Side) -> Option<Broken> {
        let is_first = self.place == 0 && self.next_skip != Some(0);
        while self.next_skip.is_some_and(|skip| skip <= self.place) {
            (self.before, self.next_skip) = (None, self.skips.next());
        }
        self.place += line.len() as u64;
        let (number, prev) = beginning_of(line).unzip();
        let last = number.map(|number| Last { number, hash: hash_of(line), side });
        let before = std::mem::replace(&mut self.before, last);
        if is_first && side != Side::Before && !begins_a_file(line) {
            return Some(Broken::Missing(format!("what was before record {} is missing", number?)));
        }
        let (before, found) = before.zip(number)?;
        before.side.may_ask_up_to(side).then(|| before.broken(found, prev.flatten())).flatten()
    }

    /// What is wrong behind the last line of the file `file`, which was read to its end: the file `next`, which was begun behind it, says
    /// what it continues. `is_only`: it is the first file of the log that is here, and may be one in which nobody wrote so far. `side`: where a line
    /// of that time is.
    pub(super) fn end(
        &self,
        file: &LogFile,
        is_only: bool,
        next: Option<&LogFile>,
        side: impl Fn(&str) -> Side,
    ) -> Option<Broken> {
        if self.place == 0 && self.next_skip != Some(0) && !(is_only && file.number.is_none()) {
            return Some(Broken::Missing(format!("no record is in {}", print::name(file.path.display()))));
        }
        // What was left out is behind the last line that was read.
        let (number, last) = file.number.zip(self.before.as_ref().filter(|_| self.next_skip != Some(self.place)))?;
        let is_next = |next: &&LogFile| match next.number {
            Some(behind) => number.checked_add(1) == Some(behind),
            None => next.continued() == Some(number),
        };
        let begins = next.filter(is_next)?.beginning()?;
        let prev = begins.prev.to_string().as_bytes().try_into().ok();
        match last.side.may_ask_up_to(side(&begins.time)).then(|| last.broken(begins.seq, prev)).flatten()? {
            Broken::Missing(told) => {
                Some(Broken::Missing(format!("{told}, behind the last one in {}", print::name(file.path.display()))))
            }
            apart => Some(apart),
        }
    }

    /// Whether what stands behind the lines so far may be asked for.
    pub(super) fn is_beside_asked(&self) -> bool {
        self.before.as_ref().is_none_or(|last| last.side == Side::Within)
    }
}

impl Last {
    /// What is wrong between it and the next one, which has this number and says that it is written behind a line with the hash `prev`; `None`
    /// where that continues it. Whether a line fits its own hash is not looked at.
    fn broken(&self, found: u64, prev: Option<Digits>) -> Option<Broken> {
        let expected = self.number.checked_add(1)?;
        match found.cmp(&expected) {
            Ordering::Equal => {
                let is_other = self.hash.zip(prev).is_some_and(|(hash, prev)| hash != prev);
                is_other.then_some(Broken::Apart(self.number, found))
            }
            Ordering::Greater => {
                Some(Broken::Missing(format!("{} before record {found}", spot::missing(&(expected..found)))))
            }
            Ordering::Less => {
                Some(Broken::Missing(format!("record {found} is out of order behind record {}", self.number)))
            }
        }
    }
}

/// Whether a file may begin with this line: a log's first one, or one that says what it continues. Of one that is not as it was written that is
/// not known.
fn begins_a_file(line: &[u8]) -> bool {
    let begins = |first: Envelope| first.seq == 0 || first.continues().is_some();
    line.strip_suffix(b"\n").is_none_or(|content| Envelope::open(content).map_or(true, begins))
}

/// The number of a line, and the hash of the one before as it says it, without parsing the rest.
fn beginning_of(line: &[u8]) -> Option<(u64, Option<Digits>)> {
    let rest = line.strip_prefix(SEQ)?;
    let (digits, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest.strip_prefix(PREV).and_then(|rest| rest.first_chunk().copied())))
}

/// The hash of a line, as it says it.
fn hash_of(line: &[u8]) -> Option<Digits> {
    let (rest, hash) = line.strip_suffix(b"\"}\n")?.split_last_chunk()?;
    rest.ends_with(HASH).then_some(*hash)
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

    fn line(seq: u64) -> Vec<u8> {
        format!("{{\"seq\":{seq},\"kind\":\"note\"}}\n").into_bytes()
    }

    #[test]
    fn a_number_that_is_left_out_is_told_where_it_may_be_asked_for_and_nothing_of_what_was_not_read() {
        let told = |skips: Vec<u64>, lines: &[(u64, Side)]| {
            let mut order = Order::behind(skips);
            let broken = lines.iter().filter_map(|(seq, side)| order.follow(&line(*seq), *side));
            broken
                .map(|broken| if let Broken::Missing(told) = broken { told } else { "apart".into() })
                .collect::<Vec<_>>()
        };
        let inside = |numbers: &[u64]| numbers.iter().map(|number| (*number, Side::Within)).collect::<Vec<_>>();
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
        let outside = [Side::Before, Side::Behind];
        assert!(outside.iter().all(|side| told(Vec::new(), &[(1, *side), (3, *side)]).is_empty()));
        assert!(outside.iter().all(|side| told(Vec::new(), &[(1, *side), (3, Side::Within)]).len() == 1));
        assert_eq!(told(Vec::new(), &[(1, Side::Before), (3, Side::Behind)]).len(), 1, "all that is asked for is gone");
    }

    #[test]
    fn a_line_that_is_written_behind_another_one_than_that_before_it_is_told() {
        let line = |seq: u64, prev: char, hash: char| {
            let [prev, hash] = [prev, hash].map(|digit| digit.to_string().repeat(64));
            format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"kind\":\"note\",\"hash\":\"{hash}\"}}\n").into_bytes()
        };
        let broken = |lines: &[Vec<u8>]| {
            let mut order = Order::behind(Vec::new());
            lines.iter().filter_map(|line| order.follow(line, Side::Within)).collect::<Vec<_>>()
        };
        assert_eq!(broken(&[line(0, '0', 'a'), line(1, 'a', 'b'), line(2, 'b', 'c')]), []);
        // The second one was edited together with its hash.
        assert_eq!(broken(&[line(0, '0', 'a'), line(1, 'a', 'd'), line(2, 'b', 'c')]), [Broken::Apart(1, 2)]);
        assert_eq!(broken(&[line(0, '0', 'a'), self::line(1), line(2, 'b', 'c')]), []);
    }
}
