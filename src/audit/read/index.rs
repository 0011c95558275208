//! Which times lie where in a compressed file, so that what lies outside a range need not be unpacked.
//!
//! A closed file is packed as several gzip members, one after the other, as RFC 1952 allows: any gzip reads them as one file. Each
//! member has an extra field in its header that says how long it is, packed and unpacked, and between which times its lines lie, as
//! the BGZF format of genomics has it for places ("The SAM/BAM Format Specification", section 4.1). What wrote the file wrote this,
//! and it can be wrong only where it was damaged or changed: no checksum covers a header. [`crate::audit::verify`] holds all of it against all
//! lines. A search believes of a piece that it leaves out what its header says, as long as the piece's first line lies between those times,
//! and of one that it reads it believes nothing. A file without it, such as one that was packed by another program, is read as a whole.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::files::BUFFER;
use super::line::{LONGEST, next_line};
use super::seek::Wanted;
use crate::audit::course::time_of;

/// Level 3 of gzip takes twice the time of level 1 and a fifth less space; what comes after it takes more time and little less.
const LEVEL: u32 = 3;
/// A member ends with the line that makes it so long, before it is packed.
const MEMBER: usize = 2 << 20;

/// So much of a member is read for its first line.
const FIRST: usize = 4 << 10;

/// What does not pack gets longer by its header, and by some bytes of every 16 KiB.
const SLACK: u64 = 1024;

/// A gzip header without a time, of an unknown system, with an extra field and nothing else.
const HEADER: [u8; 4] = [0x1f, 0x8b, 8, 4];
/// Where the length of the extra field stands; this follows it: our name for the subfield and its length.
const EXTRA: usize = 10;
const NAME: [u8; 2] = *b"HG";
/// Two lengths of four bytes, and two times as texts.
const DATA: usize = 8 + 2 * TIME;
/// A time as records write it.
const TIME: usize = "2026-11-24T16:22:31.137055Z".len();
/// All of a header.
const WHOLE: usize = EXTRA + 2 + 4 + DATA;

/// A piece of a compressed file that can be unpacked alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Member {
    /// Where it begins in the file.
    place: u64,
    /// Its bytes there.
    size: u32,
    /// Its bytes when it is unpacked, whole lines.
    length: u32,
    /// The least and the greatest time of its lines.
    least: String,
    greatest: String,
}

impl Member {
    /// Whether a line of that time may be in it.
    pub(super) fn may_hold(&self, time: &str) -> bool {
        (self.least.as_str()..=self.greatest.as_str()).contains(&time)
    }

    /// Whether these are the least and the greatest time of its lines.
    fn is_between(&self, times: Option<&(String, String)>) -> bool {
        times.is_some_and(|(least, greatest)| *least == self.least && *greatest == self.greatest)
    }

    /// The least and the greatest time of its lines.
    pub(super) fn times(&self) -> (&str, &str) {
        (&self.least, &self.greatest)
    }

    /// Its bytes, packed and unpacked.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.size as usize, self.length as usize)
    }

    /// Whether none of its lines lies from `from` on, and before `to`.
    fn is_outside(&self, from: Option<&str>, to: Option<&str>) -> bool {
        from.is_some_and(|from| self.greatest.as_str() < from) || to.is_some_and(|to| self.least.as_str() >= to)
    }

    /// What a header says; `None` where it is none of ours.
    fn parse(place: u64, header: &[u8; WHOLE]) -> Option<Self> {
        let (start, extra) = header.split_at(EXTRA);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).map(str::to_owned);
        let ours = start.starts_with(&HEADER) && extra[..6] == extra_start();
        let data = ours.then_some(&extra[6..])?;
        let (least, greatest) = (text(&data[8..8 + TIME])?, text(&data[8 + TIME..])?);
        let (size, length) = (number(&data[..4])?, number(&data[4..8])?);
        (least <= greatest).then_some(Member { place, size, length, least, greatest })
    }
}

/// The length of the extra field, and the name and length of what is in it.
fn extra_start() -> [u8; 6] {
    let (whole, data) = ((4 + DATA as u16).to_le_bytes(), (DATA as u16).to_le_bytes());
    [whole[0], whole[1], NAME[0], NAME[1], data[0], data[1]]
}

/// Packs the lines of a file.
///
/// # Errors
///
/// They cannot be read, or what is packed cannot be written.
pub(in crate::audit) fn pack(mut lines: impl BufRead, out: &mut impl Write) -> std::io::Result<()> {
    let mut content = Vec::with_capacity(MEMBER + (MEMBER >> 4));
    loop {
        content.clear();
        let mut times = Some(None::<(String, String)>);
        while content.len() < MEMBER {
            let before = content.len();
            if next_line(&mut lines, &mut content)? == 0 {
                break;
            }
            times = times.zip(time_of(&content[before..])).map(|(between, time)| Some(widened(between, time)));
        }
        if content.is_empty() {
            return Ok(());
        }
        out.write_all(&packed(&content, times.flatten())?)?;
    }
}

/// The least and the greatest time of whole lines; `None` where one of them has none.
fn times_of(mut lines: &[u8]) -> Option<(String, String)> {
    let mut times = None;
    while !lines.is_empty() {
        let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        let (line, rest) = lines.split_at(end);
        times = Some(widened(times, time_of(line)?));
        lines = rest;
    }
    times
}

fn widened(between: Option<(String, String)>, time: &str) -> (String, String) {
    match between {
        None => (time.to_owned(), time.to_owned()),
        Some((least, greatest)) if time < least.as_str() => (time.to_owned(), greatest),
        Some((least, greatest)) if time > greatest.as_str() => (least, time.to_owned()),
        Some(between) => between,
    }
}

/// One member; it says its times where they are known.
fn packed(content: &[u8], between: Option<(String, String)>) -> std::io::Result<Vec<u8>> {
    let between = between.filter(|(least, greatest)| [least, greatest].iter().all(|time| time.len() == TIME));
    let Some((least, greatest)) = between else { return compressed(GzBuilder::new(), content) };
    let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    let mut extra = extra_start()[2..].to_vec();
    // The packed length is known when it is packed: no checksum covers a header.
    extra.extend_from_slice(&0u32.to_le_bytes());
    extra.extend_from_slice(&length.to_le_bytes());
    extra.extend_from_slice(least.as_bytes());
    extra.extend_from_slice(greatest.as_bytes());
    let mut member = compressed(GzBuilder::new().extra(extra), content)?;
    let size = u32::try_from(member.len()).map_err(std::io::Error::other)?;
    member[EXTRA + 6..EXTRA + 10].copy_from_slice(&size.to_le_bytes());
    Ok(member)
}

fn compressed(header: GzBuilder, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = header.write(Vec::new(), Compression::new(LEVEL));
    gzip.write_all(content)?;
    gzip.finish()
}

/// The members of a compressed file; `None` where not all of it is told of.
///
/// # Errors
///
/// The file cannot be read, or a member begins with a line that is not of the times that it tells: what would be left out because of it
/// is not known.
pub(super) fn members(path: &Path) -> std::io::Result<Option<Vec<Member>>> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut members = Vec::new();
    let mut place = 0;
    while place < end {
        let Header::Member(member) = header_at(&mut file, place)? else { return Ok(None) };
        // What cannot be unpacked is told of by who reads it.
        if first_time(&mut file, place)?.is_some_and(|time| !member.may_hold(&time)) {
            return Err(wrong_index());
        }
        place += u64::from(member.size).max(WHOLE as u64);
        members.push(member);
    }
    Ok((place == end && !members.is_empty()).then_some(members))
}

/// The time of the first line of the member at `place`; `None` where it gives none.
fn first_time(file: &mut File, place: u64) -> std::io::Result<Option<String>> {
    file.seek(SeekFrom::Start(place))?;
    let unpacked = GzDecoder::new(BufReader::with_capacity(FIRST, &mut *file));
    let mut line = Vec::new();
    let read = BufReader::with_capacity(FIRST, unpacked).take(LONGEST as u64).read_until(b'\n', &mut line);
    Ok(read.ok().and_then(|_| time_of(&line).map(str::to_owned)))
}

/// What a member's header is.
enum Header {
    /// It tells of its member.
    Member(Member),
    /// It bears our name, or is as long as ours is, and tells of no member: it was damaged or changed.
    Broken,
    /// Another program's.
    Other,
}

fn header_at(file: &mut File, place: u64) -> std::io::Result<Header> {
    let mut header = [0; WHOLE];
    file.seek(SeekFrom::Start(place))?;
    match file.read_exact(&mut header) {
        Ok(()) => Ok(match Member::parse(place, &header) {
            Some(member) => Header::Member(member),
            None if header[3] & HEADER[3] != 0
                && (header[EXTRA..EXTRA + 2] == extra_start()[..2] || header[EXTRA + 2..EXTRA + 4] == NAME) =>
            {
                Header::Broken
            }
            None => Header::Other,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Header::Other),
        Err(error) => Err(error),
    }
}

/// A compressed file, unpacked as any gzip does it, while it is noted what its index has to tell. Who reads by the index reads no more than
/// what it tells.
pub(in crate::audit) struct Told {
    path: PathBuf,
    /// The members whose lines were read, the last of which is being read, with the least and the greatest time of their lines.
    times: Vec<Option<(String, String)>>,
    /// Where that one begins in what is unpacked.
    begins: u64,
    /// Whether a member ends within a line.
    is_split: bool,
    /// The members as they are: their bytes, packed and unpacked.
    real: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl Told {
    /// Of a compressed file; `None` of another one.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(in crate::audit) fn of(path: &Path) -> std::io::Result<Option<(Self, impl BufRead + use<>)>> {
        if !path.is_file() {
            return Ok(None);
        }
        let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
        if !file.fill_buf()?.starts_with(&HEADER[..2]) {
            return Ok(None);
        }
        let real = Rc::<RefCell<_>>::default();
        let unpacked = Unpacked { member: Some(GzDecoder::new(file)), place: 0, length: 0, real: real.clone() };
        let told = Told { path: path.to_owned(), times: vec![None], begins: 0, is_split: false, real };
        Ok(Some((told, BufReader::with_capacity(BUFFER, unpacked))))
    }

    /// The line of that time that begins at `place` of what is unpacked.
    pub(in crate::audit) fn line(&mut self, place: u64, time: &str) {
        // Of what was unpacked so far all members but the last were told of.
        let real = self.real.borrow();
        while let Some((_, length)) = real.get(self.times.len() - 1).filter(|(_, length)| place >= self.begins + length)
        {
            self.begins += length;
            self.is_split |= self.begins != place;
            self.times.push(None);
        }
        if let Some(times) = self.times.last_mut() {
            *times = Some(widened(times.take(), time));
        }
    }

    /// Whether all is true that its index tells, or it has none, now that all lines were read.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(in crate::audit) fn is_right(&self) -> std::io::Result<bool> {
        let mut file = File::open(&self.path)?;
        let (mut place, mut told, mut is_right) = (0, 0, !self.is_split);
        let real = self.real.borrow();
        for (i, (size, length)) in real.iter().enumerate() {
            let times = self.times.get(i).and_then(Option::as_ref);
            match header_at(&mut file, place)? {
                Header::Member(member) => {
                    told += 1;
                    is_right &= (u64::from(member.size), u64::from(member.length)) == (*size, *length);
                    is_right &= member.is_between(times);
                }
                Header::Broken => return Ok(false),
                Header::Other => {}
            }
            place += size;
        }
        Ok(told == 0 || is_right && told == real.len())
    }
}

/// A compressed file, one member after the other.
struct Unpacked {
    /// The one that is read; `None` behind the last.
    member: Option<GzDecoder<BufReader<File>>>,
    /// Where it begins.
    place: u64,
    /// What was unpacked of it.
    length: u64,
    /// Those that were read.
    real: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(into)?;
            self.length += read as u64;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(mut file) = self.member.take().map(GzDecoder::into_inner) else { break };
            let end = file.stream_position()?;
            self.real.borrow_mut().push((end - self.place, self.length));
            (self.place, self.length) = (end, 0);
            if !file.fill_buf()?.is_empty() {
                self.member = Some(GzDecoder::new(file));
            }
        }
        Ok(0)
    }
}

/// The lines of those members that may hold lines from `from` on, and before `to`; the places in them before which members were left out; and
/// whether the last one is among them.
///
/// # Errors
///
/// The file cannot be opened.
pub(super) fn within(
    path: &Path,
    members: &[Member],
    range: Wanted,
) -> std::io::Result<(impl BufRead + use<>, Vec<u64>, bool)> {
    let is_outside = |member: &Member| member.is_outside(range.from, range.to);
    let wanted = match range.whatever_time {
        true => members.iter().skip_while(|member| is_outside(member)).cloned().collect::<Vec<_>>(),
        false => members.iter().filter(|member| !is_outside(member)).cloned().collect(),
    };
    let is_from_start = wanted.first().zip(members.first()).is_some_and(|(read, first)| read.place == first.place);
    let skips = (!is_from_start).then_some(0).into_iter().chain(skips(&wanted)).collect();
    let is_to_end = wanted.last().zip(members.last()).is_some_and(|(read, last)| read.place == last.place);
    Ok((Lines { file: File::open(path)?, wanted: wanted.into_iter(), unpacked: Cursor::default() }, skips, is_to_end))
}

/// Where in the lines of these members another one was left out.
fn skips(members: &[Member]) -> impl Iterator<Item = u64> {
    let mut length = 0;
    members.array_windows().filter_map(move |[one, next]| {
        length += u64::from(one.length);
        (one.place + u64::from(one.size) != next.place).then_some(length)
    })
}

fn wrong_index() -> std::io::Error {
    let told =
        "its index, which tells a query where its lines are, is not of what is there, and what that hides is not known";
    std::io::Error::new(std::io::ErrorKind::InvalidData, told)
}

/// Members, unpacked one after the other.
struct Lines {
    file: File,
    wanted: std::vec::IntoIter<Member>,
    unpacked: Cursor<Vec<u8>>,
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.fill_buf()?;
        self.unpacked.read(into)
    }
}

impl BufRead for Lines {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.unpacked.position() == self.unpacked.get_ref().len() as u64
            && let Some(member) = self.wanted.next()
        {
            // A few bytes can unpack to more than there is memory, and a few kilobytes of a disk can be a file of any size.
            let most = u64::from(member.length).min((MEMBER + LONGEST) as u64);
            if u64::from(member.size) > most + most / 100 + SLACK {
                return Err(wrong_index());
            }
            let mut packed = vec![0; member.size as usize];
            self.file.seek(SeekFrom::Start(member.place))?;
            self.file.read_exact(&mut packed)?;
            self.unpacked.set_position(0);
            self.unpacked.get_mut().clear();
            let mut unpacking = GzDecoder::new(packed.as_slice()).take(most + 1);
            let unpacked = unpacking.read_to_end(self.unpacked.get_mut())?;
            let is_all = unpacking.into_inner().into_inner().is_empty();
            let is_long = unpacked as u64 == u64::from(member.length) && self.unpacked.get_ref().ends_with(b"\n");
            if !is_all || !is_long || !member.is_between(times_of(self.unpacked.get_ref()).as_ref()) {
                return Err(wrong_index());
            }
        }
        self.unpacked.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.unpacked.consume(count);
    }
}
