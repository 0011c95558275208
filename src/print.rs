//! What the programs print.
//!
//! The `print` macros panic when the reader of a pipe is gone (`hgad eval ... | head -1`) or a disk is full. A command whose
//! purpose is its table ends with its reader, as `cat` does; one that works on (a line, a training) does not care.

use std::fmt::Display;
use std::io::Write;

use crate::{Error, Result};

/// Lets a closed pipe end the program, quietly: for commands that do nothing but print.
pub fn end_with_the_reader() {
    // SAFETY: a default disposition runs no code of this program; no other thread changes it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Prints a line, or lines, on standard output. One that nobody reads any more takes everything.
///
/// # Errors
///
/// Standard output cannot be written, as to a disk that is full.
pub fn line(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::device("standard output cannot be written").because(error))
        }
        _ => Ok(()),
    }
}

/// A name that somebody else gave, as of a file or in a record, on one line and as nothing but a name: what could make a line of its own,
/// move a terminal's cursor or turn the direction of writing is escaped.
pub fn name(name: impl Display) -> String {
    escaped(&name.to_string(), |_| false)
}

/// The text with what is no text escaped: what could move a terminal's cursor, colour what follows or turn the direction of writing. What
/// `may_stay` of it stays.
fn escaped(text: &str, may_stay: impl Fn(char) -> bool) -> String {
    let is_more_than_text = |c: char| {
        (c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
            && !may_stay(c)
    };
    let mut told = String::new();
    for c in text.chars() {
        match is_more_than_text(c) {
            true => told.extend(c.escape_default()),
            false => told.push(c),
        }
    }
    told
}

/// A count with its noun, in the plural where it wants one: `1 run`, `2 runs`.
pub fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// The same with its verb: `1 run is`, `2 runs are`.
pub fn are(count: u64, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "is" } else { "are" })
}

/// The same of what was: `1 run was`, `2 runs were`.
pub fn were(count: u64, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "was" } else { "were" })
}

/// A size in the unit that suits it, with three digits at least: `0 bytes`, `20.5 MB`, `1.50 GB`. Units are powers of a thousand, as those
/// of disks and of the configuration are.
pub fn bytes(count: u64) -> String {
    let (mut size, mut units) = (count as f64, ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter());
    let mut unit = None;
    // Rounded to three digits, 999.95 would be 1000.
    while size >= 999.5
        && let Some(larger) = units.next()
    {
        (size, unit) = (size / 1e3, Some(larger));
    }
    match unit {
        None => counted(count, "byte"),
        Some(unit) if size < 9.995 => format!("{size:.2} {unit}"),
        Some(unit) if size < 99.95 => format!("{size:.1} {unit}"),
        Some(unit) => format!("{size:.0} {unit}"),
    }
}

/// A number with so many decimals, or in powers of ten where it would be longer than `width` (9 or more).
pub fn fitted(value: f32, decimals: usize, width: usize) -> String {
    let fixed = format!("{value:.decimals$}");
    if fixed.len() <= width { fixed } else { format!("{value:.3e}") }
}

/// Tells of a failure on standard error, in lines, and as nothing but text: it may quote what somebody else wrote. Where that cannot be
/// written, nobody can be told.
pub fn failure(error: &Error) {
    let report = escaped(&error.report().to_string(), |c| c == '\n');
    let _ = std::io::stderr().write_all(format!("error: {report}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_numbers_stay_in_their_column_and_one_is_no_plural() {
        for (value, text) in [(1.5, "1.5000"), (-9999.0, "-9999.0000"), (5.7e9, "5.700e9"), (f32::MIN, "-3.403e38")] {
            assert_eq!(fitted(value, 4, 10), text);
        }
        assert_eq!([0, 1, 2].map(|count| counted(count, "run")), ["0 runs", "1 run", "2 runs"]);
        assert_eq!([0, 1, 2].map(|count| are(count, "run")), ["0 runs are", "1 run is", "2 runs are"]);
        assert_eq!([0, 1, 2].map(|count| were(count, "run")), ["0 runs were", "1 run was", "2 runs were"]);
    }

    #[test]
    fn a_name_makes_no_line_of_its_own_and_no_sign_to_a_terminal() {
        assert_eq!(name("r/Käse 日本.png"), "r/Käse 日本.png");
        assert_eq!(escaped("a\n\tb\u{1b}[2K", |c| c == '\n'), "a\n\\tb\\u{1b}[2K");
        assert_eq!(name("a\nOK b\r\u{1b}[2K\u{9b}1A\u{202e}gnp"), "a\\nOK b\\r\\u{1b}[2K\\u{9b}1A\\u{202e}gnp");
    }

    #[test]
    fn a_size_is_told_in_the_unit_that_suits_it() {
        let sizes = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.00 kB"),
            (20_000_000, "20.0 MB"),
            (28_490_000, "28.5 MB"),
            (99_950_000, "100 MB"),
            (999_499_999, "999 MB"),
            (999_500_000, "1.00 GB"),
            (20_000_000_000, "20.0 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, text) in sizes {
            assert_eq!(bytes(count), text);
        }
    }
}
