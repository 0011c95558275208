//! How lines hang together.
//!
//! A line is `{"seq":N,"prev":"P",...,"hash":"H"}`. H is the SHA-256 of the line's bytes from its first brace up to, and
//! without, `,"hash":"`. P is the H of the line before, 64 zeros on the first line. N counts the lines from 0.

use serde::Deserialize;

use super::checkpoint::from_base64;
use super::course::Course;
use super::kind::{self, Kind};
use super::spot;
use super::tree::Tree;
use crate::digest::Digest;

/// `,"hash":"`, 64 digits, `"}`.
const SEAL: usize = 9 + 64 + 2;

/// The end of a chain: what the next line continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The hash of the line before.
    prev: Digest,
    /// The Merkle tree over all lines before, without their line feeds.
    tree: Tree,
    /// The hash of the log's first line, which no other log has; `None` where nobody knows it any more.
    log: Option<Digest>,
    /// How the times of the lines of the file go that is written.
    course: Course,
}

impl Link {
    pub(super) const START: Link = Link { prev: Digest::zero(), tree: Tree::EMPTY, log: None, course: Course::START };

    /// What a line continues that comes after the one with the hash `prev`, and after all lines of `tree`, in the log `log`.
    pub(super) fn after(prev: Digest, tree: Tree, log: Option<Digest>) -> Self {
        Link { prev, tree, log, course: Course::START }
    }

    /// The next line's number.
    pub(super) fn seq(&self) -> u64 {
        self.tree.size()
    }

    /// The Merkle tree over all lines before.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Which log it is: the hash of its first line, where that is known.
    pub(super) fn log(&self) -> Option<Digest> {
        self.log
    }

    /// Whether what a `continued` record says that it continues is this. Which log it is may be known to one of them alone: older programs
    /// did not say it, and whoever reads from such a file on learns it here.
    pub(super) fn meet(&mut self, told: &Link) -> bool {
        let is_same_log = self.log.zip(told.log).is_none_or(|(own, told)| own == told);
        let is_this = self.prev == told.prev && self.tree == told.tree && is_same_log;
        if is_this {
            self.log = self.log.or(told.log);
        }
        is_this
    }

    /// Whether the next line comes after the one with the hash `last`.
    pub(super) fn follows(&self, last: &Digest) -> bool {
        self.prev == *last
    }

    /// Makes a line, with its line feed, of a JSON object, and moves on.
    pub(super) fn seal(&mut self, body: &str) -> String {
        let inner = body.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        // Cannot fail: only `Body` makes records, and each of them is a struct.
        let inner = inner.expect("every record is serialised from a struct, which gives a JSON object");
        let falls = self.falls(body).map_or_else(String::new, |falls| format!(",\"falls\":{falls}"));
        let content = format!("{{\"seq\":{},\"prev\":\"{}\",{inner}{falls}", self.seq(), self.prev);
        let hash = Digest::of(&content);
        let line = format!("{content},\"hash\":\"{hash}\"}}\n");
        self.advance(hash, line.trim_end_matches('\n').as_bytes());
        line
    }

    /// Checks that a line follows.
    pub(super) fn check(&self, envelope: &Envelope) -> Result<(), Break> {
        if envelope.seq != self.seq() {
            return Err(Break::Sequence { found: envelope.seq, expected: self.seq() });
        }
        if envelope.prev != self.prev {
            return Err(Break::Previous);
        }
        Ok(())
    }

    /// Moves on over `line` (without its line feed), whose hash is `hash`.
    pub(super) fn advance(&mut self, hash: Digest, line: &[u8]) {
        if self.seq() == 0 {
            self.log = Some(hash);
        }
        self.prev = hash;
        self.tree.push(line);
        self.course.follow(line);
    }

    /// What the line that is made of `body` says of the times of its file up to itself: those lines say it that begin files and runs, and,
    /// once times fell, all others, but for a checkpoint's own, in which is no room for what nobody signs.
    fn falls(&self, body: &str) -> Option<u64> {
        let is = |kind: Kind| {
            body.strip_prefix("{\"kind\":\"").is_some_and(|rest| rest.starts_with(&format!("{}\"", kind.as_str())))
        };
        let mut course = self.course.clone();
        course.follow(body.as_bytes());
        let says = is(Kind::Start) || is(Kind::Continued) || course.falls() > 0 && !is(Kind::Checkpoint);
        says.then(|| course.falls())
    }

    /// How often times fell up to the line before, in its file.
    pub(super) fn fallen(&self) -> u64 {
        self.course.falls()
    }

    /// The next line is the first of another file.
    pub(super) fn begin_file(&mut self) {
        self.course = Course::START;
    }
}

/// Why a line does not continue the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Break {
    /// Its hash does not fit its content.
    Changed,
    /// It is not an audit line at all.
    Foreign(String),
    /// It is whole, and is another line than the one that must come here.
    Sequence { found: u64, expected: u64 },
    /// It is whole, and follows another line than the one before it.
    Previous,
}

/// What every line has, and what a check of the whole file looks at.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Envelope {
    #[serde(deserialize_with = "number")]
    pub(super) seq: u64,
    pub(super) prev: Digest,
    /// `None` for one that this program does not know.
    #[serde(deserialize_with = "kind::known")]
    pub(super) kind: Option<Kind>,
    pub(super) time: String,
    #[serde(default)]
    pub(super) monotonic_ns: u64,
    #[serde(default)]
    pub(super) synchronised: Option<bool>,
    #[serde(default)]
    pub(super) format_version: Option<u32>,
    /// The name of the run that a `start` record begins.
    #[serde(default, deserialize_with = "text")]
    pub(super) run: Option<String>,
    /// The part that a `part` record is of.
    #[serde(default)]
    pub(super) part: Option<u64>,
    /// Whether a `part` record is of a run that drove no output.
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    /// The file of the picture that a record names.
    #[serde(default, deserialize_with = "file_of")]
    pub(super) picture: Option<String>,
    /// How many records a `lost` record stands for; of a `log-removed` one, how many of the log are removed up to then.
    #[serde(default)]
    pub(super) records: Option<u64>,
    /// The first record that a `log-removed` one tells of.
    #[serde(default, deserialize_with = "count")]
    pub(super) from: Option<u64>,
    /// A `checkpoint` record's signed note.
    #[serde(default)]
    pub(super) note: Option<String>,
    /// The public key of the run that a `start` record begins.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// Whether that run keeps a copy of its checkpoints.
    #[serde(default)]
    pub(super) checkpoint_copy: Option<bool>,
    /// The peaks of the tree over all lines before a `continued` record.
    #[serde(default)]
    peaks: Option<Vec<String>>,
    /// Which log a `continued` record is of.
    #[serde(default)]
    log: Option<Digest>,
    /// How often times fell so far in its file, as it says itself.
    #[serde(default)]
    pub(super) falls: Option<u64>,
    /// The share of a run's parts whose pictures are kept whatever becomes of them.
    #[serde(default, deserialize_with = "share")]
    pub(super) sample: Option<f64>,
    /// Why the files were removed that a `log-removed` record tells of.
    #[serde(default, deserialize_with = "text")]
    pub(super) why: Option<String>,
    /// The file that was closed before it.
    #[serde(default, deserialize_with = "text")]
    pub(super) file: Option<String>,
    pub(super) hash: Digest,
}

/// No log has more lines: whoever counts on from such a number never comes to the end of all numbers.
const MOST_LINES: u64 = i64::MAX as u64;

/// A line's number.
///
/// # Errors
///
/// It is none, or one that no log comes to.
pub(in crate::audit) fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    match number <= MOST_LINES {
        true => Ok(number),
        false => Err(serde::de::Error::custom(format!("no log has {number} records before one"))),
    }
}

/// The field `file` of what is in the field; `None` for anything else.
fn file_of<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.get("file").and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// A share; `None` for anything else.
fn share<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_f64())
}

/// A count; `None` for anything else, which other kinds of record may have under the name.
fn count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_u64())
}

/// A text; `None` for anything else, which other kinds of record may have under the name.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

/// Whether `line`, without its line feed, is as it was written, as far as itself tells that.
///
/// # Errors
///
/// Why not, of the line.
pub fn fits(line: &[u8]) -> Result<(), String> {
    let opened = Envelope::open(line).map_err(|broken| match broken {
        Break::Foreign(why) => why,
        _ => "its hash does not fit its content".to_owned(),
    });
    opened.map(drop)
}

/// What is wrong between a record and the one that stands next to it in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rift {
    /// Some are missing between them: which, for people.
    Missing(String),
    /// One of them does not fit its own hash.
    Edited,
    /// Both do, and the later one does not continue the other: one of both is not as it was written.
    Apart,
}

impl Rift {
    /// Between two lines, without their line feeds, of which the one stands behind the other; `None` where it continues that.
    pub fn between(before: &[u8], line: &[u8]) -> Option<Self> {
        let (Ok(before), Ok(record)) = (Envelope::open(before), Envelope::open(line)) else {
            return Some(Rift::Edited);
        };
        let next = before.seq.saturating_add(1);
        match record.seq > next {
            true => Some(Rift::Missing(spot::missing(&(next..record.seq)))),
            false => (!record.follows(&before)).then_some(Rift::Apart),
        }
    }
}

impl Envelope {
    /// Whether it is the record right behind the one `before`.
    pub(super) fn follows(&self, before: &Envelope) -> bool {
        before.hash == self.prev && before.seq.checked_add(1) == Some(self.seq)
    }

    /// What a `continued` record continues; `None` for other lines, and for one whose peaks are none.
    pub(super) fn continues(&self) -> Option<Link> {
        let peaks = self.peaks.as_ref().filter(|_| self.kind == Some(Kind::Continued))?;
        let peaks = peaks.iter().map(|peak| from_base64(peak)).collect::<Option<Vec<_>>>()?;
        Some(Link::after(self.prev, Tree::of(self.seq, peaks)?, self.log))
    }
}

impl Envelope {
    /// Which log the first record of a file is of, as it has or says it: the hash of that log's first line.
    pub(super) fn own_log(&self) -> Option<Digest> {
        match self.seq {
            0 => Some(self.hash),
            _ => self.continues()?.log(),
        }
    }

    /// Reads a line (without its line feed) whose hash fits.
    pub(super) fn open(line: &[u8]) -> Result<Self, Break> {
        let foreign = |why: &str| Break::Foreign(why.to_owned());
        let content = line.len().checked_sub(SEAL).map(|end| line.split_at(end));
        let (content, seal) = content.ok_or_else(|| foreign("it is too short"))?;
        let seal = std::str::from_utf8(seal).map_err(|_| foreign("it does not end with a hash"))?;
        let hash = seal.strip_prefix(",\"hash\":\"").and_then(|rest| rest.strip_suffix("\"}"));
        let hash = hash.and_then(|digits| digits.parse::<Digest>().ok());
        let hash = hash.ok_or_else(|| foreign("it does not end with a hash"))?;
        if Digest::of(content) != hash {
            return Err(Break::Changed);
        }
        serde_json::from_slice(line).map_err(|error| Break::Foreign(error.to_string()))
    }
}
