//! Files that look like closed ones of a log and are not read: somebody gave their number other digits, or packed them as no run does.

use std::path::Path;

use super::files::{GZ, LAST_NUMBER, LogFile, beside, closed_name, closed_number, named, numbered, real};
use crate::audit::past::is_held;
use crate::{Result, print};

/// What is to be said, and done, of such files beside the log in `path`. `None` where there are none, or where nothing of the log is here that
/// they could be closed files of.
///
/// # Errors
///
/// The log's folder cannot be read.
pub(in crate::audit) fn misnamed_told(path: &Path) -> Result<Option<String>> {
    let path = &real(path);
    let own = named(path)?.into_iter().filter(|file| file.path.exists()).collect::<Vec<_>>();
    let mut told = Vec::new();
    for (file, name) in beside(path)? {
        if let Some((digits, packing)) = numbered(path, &name)
            && closed_number(path, &name).is_none()
            && file.is_file()
            // Another line may be about to begin its own log there.
            && !is_held(&file)
            && !is_of_another_log(&file, &own)
        {
            told.push(misnamed(path, &file, digits, packing));
        }
    }
    told.sort_unstable();
    Ok((!told.is_empty() && !own.is_empty()).then(|| told.join("; ")))
}

/// Whether `file` begins as one of another log than that of the files `own`: `line.2.jsonl` may be the log of another line than `line.jsonl`.
fn is_of_another_log(file: &Path, own: &[LogFile]) -> bool {
    let found = LogFile { path: file.to_owned(), number: None }.log();
    // The newest is the log's whatever lies beside it.
    found.zip(own.iter().rev().find_map(LogFile::log)).is_some_and(|(found, own)| found != own)
}

fn misnamed(path: &Path, file: &Path, digits: &str, packing: &str) -> String {
    let name = |path: &Path| print::name(path.display());
    let looks = format!("{} looks like a closed file of this log and is not read", name(file));
    let Some(number) = digits.parse().ok().filter(|number| *number <= LAST_NUMBER) else {
        return format!("{looks}: no file of a log has such a number; move it away");
    };
    let proper = closed_name(path, number);
    let packed = proper.with_added_extension("gz");
    // What is no file in that place is not read either, and this one may be that which was there.
    if let Some(other) = [&proper, &packed].into_iter().find(|other| other.is_file()) {
        return format!(
            "{looks}: {} has its number; move it away, and keep it if it holds something else",
            name(other)
        );
    }
    let mend = match packing {
        "" => format!("rename it to {}", name(&proper)),
        GZ => format!("rename it to {}", name(&packed)),
        _ => format!("unpack it as {} (gzip alone is read)", name(&proper)),
    };
    format!("{looks}: if it is one, {mend}, and hgad audit verify says whether it is whole; if not, move it away")
}
