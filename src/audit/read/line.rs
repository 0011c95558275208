//! One line after the other, none of which fills the memory.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// No record is nearly so long: what has no end sooner is no log, or the work of somebody who wants its readers to run out of memory.
pub(super) const LONGEST: usize = 4 << 20;

/// Adds the next line to `line`, with its line feed where it has one; how long it is, 0 at the end.
///
/// # Errors
///
/// It cannot be read, or is of [`ErrorKind::FileTooLarge`].
pub(in crate::audit) fn next_line(lines: &mut (impl BufRead + ?Sized), line: &mut Vec<u8>) -> Result<usize> {
    let read = lines.take(LONGEST as u64).read_until(b'\n', line)?;
    match read == LONGEST && !line.ends_with(b"\n") {
        true => Err(Error::new(ErrorKind::FileTooLarge, format!("no line feed in {} MiB", LONGEST >> 20))),
        false => Ok(read),
    }
}

/// All lines, without their line feeds, up to the first that cannot be read.
pub(in crate::audit) fn lines(mut file: impl BufRead) -> impl Iterator<Item = Result<Vec<u8>>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = if is_over { Ok(0) } else { next_line(&mut file, &mut line) };
        is_over = read.is_err();
        line.pop_if(|last| *last == b'\n');
        read.map(|length| (length > 0).then_some(line)).transpose()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_file_whether_the_last_one_is_whole_or_not() {
        for (file, wanted) in [("", vec![]), ("a\n\nb", vec!["a", "", "b"]), ("a\nb\n", vec!["a", "b"])] {
            let found = lines(file.as_bytes()).map(|line| String::from_utf8(line.unwrap()).unwrap());
            assert_eq!(found.collect::<Vec<_>>(), wanted, "{file:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_an_error_and_what_was_read_of_it_is_bounded() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let mut line = Vec::new();
        assert_eq!(next_line(&mut endless, &mut line).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(line.len(), LONGEST);
        assert!(lines(endless).take(3).collect::<Vec<_>>().len() == 1);
        let longest = [vec![b'x'; LONGEST - 1], b"\nrest\n".to_vec()].concat();
        assert_eq!(lines(longest.as_slice()).map(|line| line.unwrap().len()).collect::<Vec<_>>(), [LONGEST - 1, 4]);
    }
}
