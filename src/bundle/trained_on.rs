//! `trained-on.txt`: which images the model was trained on, so that nobody calibrates on them unawares.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::{Error, Result};

/// Reads the file's digests, one a line.
pub(super) fn parse(origin: &str, name: &str, bytes: &[u8]) -> Result<BTreeSet<Digest>> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(str::parse)
        .collect::<Result<_, String>>()
        .map_err(|why| Error::device(format!("{origin}: {name} is not a list of digests")).because(why))
}

/// The file with these digests, in their order.
pub(super) fn serialize(digests: &BTreeSet<Digest>) -> Vec<u8> {
    digests.iter().map(|digest| format!("{digest}\n")).collect::<String>().into_bytes()
}
