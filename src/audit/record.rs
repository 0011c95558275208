//! The records, field by field in the order in which they are written.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::FORMAT_VERSION;
use super::chain::Link;
use super::checkpoint::{Made, base64};
use super::clock::is_synchronised;
use super::deciders::{Change, Deciders};
use super::interruption::Interruption;
use super::kind::Kind;
use super::pictures::{Pictured, Tally};
use crate::approval::Approval;
use crate::digest::Digest;
use crate::drift;
use crate::line::{
    Alarm, Challenge, ChallengeNews, Counters, Device, Fate, PartId, PartRecord, PictureFault, Ticket, Verdict,
};
use crate::picture::Statistics;
use crate::time::{Monotonic, StampSource};

/// A record that waits for its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(pub(super) String);

/// What a run begins with.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// The line's name.
    pub line: String,
    /// Whether no output is driven, whatever fates the records tell of.
    pub dry_run: bool,
    /// SHA-256 of the configuration, where there is a file.
    pub config: Option<Digest>,
    /// Where frames come from, in words.
    pub camera: String,
    /// What ejects, in words.
    pub output: String,
    /// The bundle.
    pub bundle: Digest,
    /// The calibration of every class.
    pub calibrations: BTreeMap<String, Digest>,
    /// Who let them into production, where the configuration asks for that.
    pub approvals: Vec<Approval>,
    /// From how many of a calibration's parts the test for drift begins, by class.
    pub drift: BTreeMap<String, u64>,
}

/// How a run keeps its audit.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) deciders: Deciders,
    /// The run's name.
    pub(super) run: String,
    /// What ejects, in words.
    pub(super) output: String,
    /// Whether they are copied elsewhere.
    pub(super) checkpoint_copy: bool,
    /// Who gets them.
    pub(super) witness: Option<String>,
    /// The share of all parts whose pictures are kept whatever becomes of them, where pictures are kept.
    pub(super) sample: Option<f64>,
}

/// What a part's record says beside what the line core knows.
#[derive(Debug, Clone, Copy)]
pub struct PartContext {
    /// The bundle that judged.
    pub bundle: Digest,
    /// Whether no output is driven: what the record calls rejected went on with the belt.
    pub dry_run: bool,
}

/// The wall time of a moment, as RFC 3339 in UTC with microseconds.
pub fn wall_time(at: Monotonic) -> String {
    let age = SignedDuration::from_nanos(Monotonic::now().as_nanos() as i64 - at.as_nanos() as i64);
    let wall = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{wall:.6}")
}

#[derive(Serialize)]
struct Event<T: Serialize> {
    kind: Kind,
    time: String,
    monotonic_ns: u64,
    synchronised: bool,
    #[serde(flatten)]
    what: T,
}

impl Body {
    fn event(kind: Kind, at: Monotonic, what: impl Serialize) -> Self {
        let (time, synchronised) = (wall_time(at), is_synchronised());
        Self::of(&Event { kind, time, monotonic_ns: at.as_nanos(), synchronised, what })
    }

    fn of(record: &impl Serialize) -> Self {
        Body(
            serde_json::to_string(record)
                .expect("records hold only texts, numbers and maps of them, which JSON can say"),
        )
    }

    /// The program started and armed the line.
    pub(super) fn start(at: Monotonic, run: &RunStart, setting: Setting) -> Self {
        #[derive(Serialize)]
        struct Start<'a> {
            format_version: u32,
            run: String,
            program: &'static str,
            boot: String,
            line: &'a str,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            dry_run: bool,
            camera: &'a str,
            output: String,
            #[serde(flatten)]
            deciders: Deciders,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            approvals: &'a [Approval],
            key: Option<String>,
            checkpoint_copy: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            witness: Option<String>,
            pictures: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            sample: Option<f64>,
        }
        let Setting { deciders, run: name, output, checkpoint_copy, witness, sample } = setting;
        let key = deciders.key.clone();
        // Monotonic time counts from the machine's start, so it can be compared within one boot only.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let what = Start {
            format_version: FORMAT_VERSION,
            run: name,
            program: concat!("hgad ", env!("CARGO_PKG_VERSION")),
            boot: boot.trim().to_owned(),
            line: &run.line,
            dry_run: run.dry_run,
            camera: &run.camera,
            output,
            deciders,
            approvals: &run.approvals,
            key,
            checkpoint_copy,
            witness,
            pictures: sample.is_some(),
            sample,
        };
        Self::event(Kind::Start, at, what)
    }

    /// The run ended in good order, for the reason given.
    pub(super) fn stop(at: Monotonic, reason: &str, counters: &Counters, pictures: Option<Tally>) -> Self {
        #[derive(Serialize)]
        struct Stop<'a> {
            reason: &'a str,
            counters: serde_json::Map<String, serde_json::Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pictures: Option<Tally>,
        }
        let counters = counters.named().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
        Self::event(Kind::Stop, at, Stop { reason, counters, pictures })
    }

    /// What became of a part's picture, after its part was written down.
    pub(super) fn picture(at: Monotonic, part: PartId, picture: &Pictured) -> Self {
        #[derive(Serialize)]
        struct Picture<'a> {
            part: u64,
            picture: &'a Pictured,
        }
        Self::event(Kind::Picture, at, Picture { part: part.0, picture })
    }

    /// So many pictures of passes or of rejects are removed from now on, of days up to `until`; `last` is the file of the last of them.
    pub(super) fn pictures_removed(
        at: Monotonic,
        of: &str,
        pictures: u64,
        bytes: u64,
        until: &str,
        last: &str,
    ) -> Self {
        #[derive(Serialize)]
        struct Removed<'a> {
            of: &'a str,
            pictures: u64,
            bytes: u64,
            until: &'a str,
            last: &'a str,
        }
        Self::event(Kind::PicturesRemoved, at, Removed { of, pictures, bytes, until, last })
    }

    /// Closed files of the log itself are removed from now on, as `what` tells.
    pub(super) fn log_removed(at: Monotonic, what: impl Serialize) -> Self {
        Self::event(Kind::LogRemoved, at, what)
    }

    /// A device's health changed.
    pub fn health(at: Monotonic, device: Device, health: &Result<(), String>) -> Self {
        #[derive(Serialize)]
        struct Health<'a> {
            device: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<&'a str>,
        }
        let kind = if health.is_ok() { Kind::Recovery } else { Kind::Fault };
        let why = health.as_ref().err().map(String::as_str);
        Self::event(kind, at, Health { device: device.to_string(), why })
    }

    /// An alarm was raised for the reason given, or is over.
    pub fn alarm(at: Monotonic, alarm: Alarm, raised: Option<&str>) -> Self {
        #[derive(Serialize)]
        struct Raised<'a> {
            alarm: String,
            raised: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<&'a str>,
        }
        Self::event(Kind::Alarm, at, Raised { alarm: alarm.to_string(), raised: raised.is_some(), why: raised })
    }

    /// A person has seen alarms, each with the moment of its record. What they say of it is no `note`: only checkpoints may hold one.
    pub fn acknowledgement(at: Monotonic, by: &str, alarms: &[(Alarm, Monotonic)], remark: Option<&str>) -> Self {
        #[derive(Serialize)]
        struct Acknowledged<'a> {
            by: &'a str,
            alarms: Vec<Seen>,
            #[serde(skip_serializing_if = "Option::is_none")]
            remark: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Seen {
            alarm: String,
            raised_ns: u64,
        }
        let seen =
            |(alarm, raised): &(Alarm, Monotonic)| Seen { alarm: alarm.to_string(), raised_ns: raised.as_nanos() };
        Self::event(Kind::Acknowledgement, at, Acknowledged { by, alarms: alarms.iter().map(seen).collect(), remark })
    }

    /// A challenge began or is over; `None` for news that have records of their own, or none.
    pub fn challenge(at: Monotonic, news: &ChallengeNews) -> Option<Self> {
        #[derive(Serialize)]
        struct Begun<'a> {
            by: &'a str,
            pieces: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            lane: Option<&'a str>,
            within_s: u64,
        }
        #[derive(Serialize)]
        struct Ended<'a> {
            by: &'a str,
            pieces: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            lane: Option<&'a str>,
            passed: bool,
            caught: Vec<u64>,
            missed: Vec<Missed<'a>>,
            absent: u32,
        }
        #[derive(Serialize)]
        struct Missed<'a> {
            part: u64,
            why: &'a str,
        }
        match news {
            ChallengeNews::Begun(Challenge { by, pieces, lane, within }) => {
                let what = Begun { by, pieces: *pieces, lane: lane.as_deref(), within_s: within.as_secs() };
                Some(Self::event(Kind::ChallengeBegun, at, what))
            }
            ChallengeNews::Ended(Challenge { by, pieces, lane, .. }, outcome) => {
                let missed = outcome.missed.iter().map(|(part, why)| Missed { part: part.0, why });
                let what = Ended {
                    by,
                    pieces: *pieces,
                    lane: lane.as_deref(),
                    passed: outcome.is_passed(),
                    caught: outcome.caught.iter().map(|part| part.0).collect(),
                    missed: missed.collect(),
                    absent: outcome.absent,
                };
                Some(Self::event(Kind::Challenge, at, what))
            }
            ChallengeNews::Refused(..) | ChallengeNews::Piece(..) => None,
        }
    }

    /// Something else that a reader should know.
    pub fn note(at: Monotonic, text: &str) -> Self {
        #[derive(Serialize)]
        struct Note<'a> {
            text: &'a str,
        }
        Self::event(Kind::Note, at, Note { text })
    }

    /// The file ended in an unfinished line, which was cut off.
    pub(super) fn repaired(at: Monotonic, cut: &[u8]) -> Self {
        #[derive(Serialize)]
        struct Repaired {
            cut_bytes: usize,
            cut_sha256: Digest,
        }
        Self::event(Kind::Repaired, at, Repaired { cut_bytes: cut.len(), cut_sha256: Digest::of(cut) })
    }

    /// The run before ended without a word.
    pub(super) fn interrupted(at: Monotonic, interruption: &Interruption) -> Self {
        Self::event(Kind::Interrupted, at, interruption)
    }

    /// There is little room where the log is, or enough again.
    pub(super) fn disk_pressure(at: Monotonic, is_low: bool, free_bytes: u64) -> Self {
        #[derive(Serialize)]
        struct Pressure {
            low: bool,
            free_bytes: u64,
        }
        Self::event(Kind::DiskPressure, at, Pressure { low: is_low, free_bytes })
    }

    /// The clock on the wall was set, by so many milliseconds.
    pub(super) fn clock_step(at: Monotonic, by_ms: f64) -> Self {
        #[derive(Serialize)]
        struct Step {
            by_ms: f64,
        }
        Self::event(Kind::ClockStep, at, Step { by_ms: to_microseconds(by_ms) })
    }

    /// Something that decides about parts is another than in the run before; who let it into production, where that is known.
    pub(super) fn changed(at: Monotonic, change: &Change, approval: Option<&Approval>) -> Self {
        #[derive(Serialize)]
        struct Changed<'a> {
            #[serde(flatten)]
            change: &'a Change,
            #[serde(skip_serializing_if = "Option::is_none")]
            by: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            approved: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            approval_key: Option<&'a str>,
        }
        let of = |field: fn(&Approval) -> &String| approval.map(|approval| field(approval).as_str());
        let (by, reason) = (of(|approval| &approval.by), of(|approval| &approval.reason));
        let (approved, approval_key) = (of(|approval| &approval.time), of(|approval| &approval.key));
        Self::event(Kind::Changed, at, Changed { change, by, reason, approved, approval_key })
    }

    /// A change for which nobody gave a name and a reason.
    pub(super) fn unnamed_change(at: Monotonic, change: &Change, why: &str) -> Self {
        #[derive(Serialize)]
        struct Unnamed<'a> {
            #[serde(flatten)]
            change: &'a Change,
            why: &'a str,
        }
        Self::event(Kind::UnnamedChange, at, Unnamed { change, why })
    }

    /// What accepted parts of a class, in a lane, look like has changed, as `why` says for people; these parts show it.
    pub fn drift(
        at: Monotonic,
        class: &str,
        lane: Option<&str>,
        change: &drift::Alarm,
        named: &[(PartId, f32)],
        why: &str,
    ) -> Self {
        #[derive(Serialize)]
        struct Changed<'a> {
            class: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            lane: Option<&'a str>,
            quantity: String,
            rises: bool,
            median: f32,
            normal: f32,
            named: Vec<Named>,
            why: &'a str,
        }
        #[derive(Serialize)]
        struct Named {
            part: u64,
            value: f32,
        }
        let named = named.iter().map(|(part, value)| Named { part: part.0, value: *value }).collect();
        let drift::Alarm { quantity, rises, normal, recent: median, .. } = *change;
        Self::event(
            Kind::Drift,
            at,
            Changed { class, lane, quantity: quantity.to_string(), rises, median, normal, named, why },
        )
    }

    /// The test for drift of a class begins with so many parts of its calibration; `restarted`: a run before had followed drift.
    pub(super) fn drift_begun(at: Monotonic, class: &str, parts: u64, restarted: bool) -> Self {
        #[derive(Serialize)]
        struct Begun<'a> {
            class: &'a str,
            parts: u64,
            restarted: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<&'static str>,
        }
        let why = restarted.then_some("the test begins anew: what the run before had seen does not count any more");
        Self::event(Kind::DriftBegun, at, Begun { class, parts, restarted, why })
    }

    /// The lines before this one, signed (C2SP tlog-checkpoint), at the time that the note says too.
    pub(super) fn checkpoint(made: &Made, note: &str) -> Self {
        #[derive(Serialize)]
        struct Checkpoint<'a> {
            kind: Kind,
            #[serde(flatten)]
            made: &'a Made,
            note: &'a str,
        }
        Self::of(&Checkpoint { kind: Kind::Checkpoint, made, note })
    }

    /// The file before was closed; `link` is what this line continues.
    pub(super) fn continued(at: Monotonic, setting: &Setting, closed: &str, link: &Link) -> Self {
        #[derive(Serialize)]
        struct Continued<'a> {
            format_version: u32,
            run: &'a str,
            output: &'a str,
            file: &'a str,
            peaks: Vec<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            log: Option<Digest>,
            #[serde(flatten)]
            deciders: &'a Deciders,
            approvals: &'a [Approval],
            key: Option<&'a str>,
            checkpoint_copy: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            sample: Option<f64>,
        }
        let what = Continued {
            format_version: FORMAT_VERSION,
            run: &setting.run,
            output: &setting.output,
            file: closed,
            peaks: link.tree().peaks().iter().map(|peak| base64(*peak)).collect(),
            log: link.log(),
            deciders: &setting.deciders,
            approvals: setting.deciders.approvals.as_deref().unwrap_or_default(),
            key: setting.deciders.key.as_deref(),
            checkpoint_copy: setting.checkpoint_copy,
            sample: setting.sample,
        };
        Self::event(Kind::Continued, at, what)
    }

    /// So many records found no room, the first of them at `since`.
    pub(super) fn lost(at: Monotonic, records: usize, since: Monotonic) -> Self {
        #[derive(Serialize)]
        struct Lost {
            records: usize,
            since_ns: u64,
        }
        Self::event(Kind::Lost, at, Lost { records, since_ns: since.as_nanos() })
    }

    /// What became of a part. `pixels` gives the digests of frames, as far as they are known.
    pub(super) fn part(
        record: &PartRecord,
        context: PartContext,
        picture: Option<&Pictured>,
        pixels: impl Fn(Ticket) -> Option<Digest>,
    ) -> Self {
        #[derive(Serialize)]
        struct Part<'a> {
            kind: Kind,
            time: String,
            monotonic_ns: u64,
            synchronised: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            seen_ns: Option<u64>,
            stamp: StampSource,
            part: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            lane: Option<&'a str>,
            frame: Option<u64>,
            pixels_sha256: Option<Digest>,
            origin: &'a str,
            class: &'a str,
            score: Option<f32>,
            threshold: Option<f32>,
            levels: &'a [f32],
            place: Option<[f64; 2]>,
            verdict: &'static str,
            reason: Option<&'static str>,
            detail: Option<&'a str>,
            fate: &'static str,
            fate_reason: Option<&'a str>,
            planned_ns: u64,
            fired_ns: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            confirmed_ns: Option<u64>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            challenge: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            dry_run: bool,
            slack_ms: f64,
            latency_ms: Option<Stages>,
            #[serde(skip_serializing_if = "Option::is_none")]
            frames: Option<Vec<Shown<'a>>>,
            bundle: Digest,
            calibration: Option<Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            picture_fault: Option<Refused>,
            picture: Option<&'a Pictured>,
        }
        #[derive(Serialize)]
        struct Shown<'a> {
            frame: u64,
            pixels_sha256: Option<Digest>,
            monotonic_ns: u64,
            offset_mm: f64,
            score: Option<f32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            picture_fault: Option<Refused>,
        }
        #[derive(Serialize)]
        struct Stages {
            wait: f64,
            preprocess: f64,
            network: f64,
            score: f64,
            total: f64,
        }
        let unknown = match &record.verdict {
            Verdict::Unknown(why) => Some(why),
            Verdict::Pass | Verdict::Reject => None,
        };
        let judgement = record.judgement.as_ref();
        let frames = record.views.iter().map(|view| {
            let outcome = view.outcome.as_ref();
            Shown {
                frame: view.frame,
                pixels_sha256: pixels(view.ticket),
                monotonic_ns: view.captured.as_nanos(),
                offset_mm: to_microseconds(view.offset.as_mm()),
                score: outcome.and_then(|outcome| outcome.as_ref().ok().copied()),
                detail: outcome.map_or(Some(UNJUDGED), |outcome| Some(outcome.as_ref().err()?.why.as_str())),
                picture_fault: outcome.and_then(|outcome| outcome.as_ref().err()?.picture.map(Refused::of)),
            }
        });
        let frames = (!record.views.is_empty()).then(|| frames.collect());
        Self::of(&Part {
            kind: Kind::Part,
            time: wall_time(record.captured),
            monotonic_ns: record.captured.as_nanos(),
            synchronised: is_synchronised(),
            seen_ns: record.seen.map(Monotonic::as_nanos),
            stamp: record.stamp,
            part: record.part.0,
            lane: record.lane.as_deref(),
            frame: record.frame,
            pixels_sha256: record.ticket.and_then(&pixels),
            origin: &record.origin,
            class: &record.class,
            score: judgement.map(|judgement| judgement.score),
            threshold: judgement.map(|judgement| judgement.threshold),
            levels: judgement.map_or(&[], |judgement| &judgement.evidence.levels),
            place: judgement.and_then(|judgement| judgement.evidence.place).map(|(x, y)| [share(x), share(y)]),
            verdict: record.verdict.as_str(),
            reason: unknown.map(|why| why.as_str()),
            detail: unknown.and_then(|why| why.detail()),
            fate: record.fate.as_str(),
            fate_reason: match &record.fate {
                Fate::Unaccounted(why) => Some(why),
                Fate::Passed | Fate::Rejected => None,
            },
            planned_ns: record.planned.as_nanos(),
            fired_ns: record.fired.map(Monotonic::as_nanos),
            confirmed_ns: record.confirmed.map(Monotonic::as_nanos),
            challenge: record.challenge,
            dry_run: context.dry_run,
            slack_ms: to_microseconds(record.slack_ms),
            latency_ms: record.latency.map(|latency| Stages {
                wait: millis(latency.wait),
                preprocess: millis(latency.preprocess),
                network: millis(latency.network),
                score: millis(latency.score),
                total: millis(latency.total),
            }),
            frames,
            bundle: context.bundle,
            calibration: judgement.map(|judgement| judgement.calibration),
            picture_fault: record.picture_fault.map(Refused::of),
            picture,
        })
    }
}

/// What decided that a picture is none to judge a part by.
#[derive(Serialize)]
struct Refused {
    fault: &'static str,
    calibration: Option<Digest>,
    #[serde(flatten)]
    statistics: Statistics,
}

impl Refused {
    fn of(PictureFault { fault, statistics, calibration }: PictureFault) -> Self {
        Refused { fault: fault.as_str(), calibration, statistics }
    }
}

fn millis(duration: Duration) -> f64 {
    to_microseconds(duration.as_secs_f64() * 1e3)
}

/// What is said of a frame whose inspection had not ended when its part's fate was settled.
const UNJUDGED: &str = "it was not judged by then";

/// A share with three decimals: a thousandth of a frame is less than anybody sees.
fn share(value: f32) -> f64 {
    (f64::from(value) * 1e3).round() / 1e3
}

/// Milliseconds with three decimals: what lies below is noise.
fn to_microseconds(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}
