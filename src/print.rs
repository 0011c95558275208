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

/// A count with its noun, in the plural where it wants one: `1 run`, `2 runs`.
pub fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A number with so many decimals, or in powers of ten where it would be longer than `width` (9 or more).
pub fn fitted(value: f32, decimals: usize, width: usize) -> String {
    let fixed = format!("{value:.decimals$}");
    if fixed.len() <= width { fixed } else { format!("{value:.3e}") }
}

/// Tells of a failure on standard error. Where that cannot be written, nobody can be told.
pub fn failure(error: &Error) {
    let _ = std::io::stderr().write_all(format!("error: {}\n", error.report()).as_bytes());
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
    }
}
