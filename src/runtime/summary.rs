//! What a run comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::histogram::Histogram;
use crate::camera::{CameraCounts, CountsReader};
use crate::line::{Alarm, Counters, PartRecord};
use crate::{Error, Result};

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The camera has no more frames.
    CameraEnded,
    /// As many parts as were wanted were seen.
    Enough,
    /// It was told to stop.
    Stopped,
    /// What the configuration asks for could not be kept up, for the reason given.
    LineStopped(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::CameraEnded => f.write_str("the camera has no more frames"),
            Ending::Enough => f.write_str("as many parts as were wanted were seen"),
            Ending::Stopped => f.write_str("told to stop"),
            Ending::LineStopped(why) => write!(f, "line stopped: {why}"),
        }
    }
}

/// The spread of a time, in milliseconds, right to 1%.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest, exactly.
    pub max: f64,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Why it ended.
    pub ending: Ending,
    /// How many parts met which end.
    pub counters: Counters,
    /// The same for each lane of a belt with lanes, by its name.
    pub lanes: BTreeMap<Arc<str>, Counters>,
    /// What the camera did.
    pub camera: CameraCounts,
    /// From the capture to the verdict.
    pub latency_ms: Percentiles,
    /// From the planned moment of a reject to the one at which the ejector acted.
    pub lateness_ms: Percentiles,
    /// The least slack that an inspected part had; negative when its verdict came after its deadline.
    pub least_slack_ms: Option<f64>,
    /// How long the run took.
    pub took: Duration,
    /// How often each alarm was raised.
    pub alarms: BTreeMap<Alarm, u64>,
    /// Why nobody knows whether the output is released.
    pub unreleased: Option<String>,
    /// Why the audit is not whole, or not everywhere where it is kept, and what to do.
    pub unwritten: Option<(String, String)>,
    /// Finished parts that the observer was too slow for.
    pub unobserved: u64,
    /// Where the decisions are written down.
    pub audit: PathBuf,
}

/// That nobody knows whether the output is released, for the reason given.
pub(super) fn ejector_may_be_on(why: &str) -> Error {
    Error::device(why).advise("the ejector may be on: make the machine safe before anybody reaches into it")
}

impl Summary {
    /// Whether all is as it should be when the run has ended.
    ///
    /// # Errors
    ///
    /// Nobody knows whether the output is released, the audit is not whole, or the line had to stop.
    pub fn check(&self) -> Result<()> {
        if let Some(why) = &self.unreleased {
            return Err(ejector_may_be_on(why));
        }
        if let Some((why, advice)) = &self.unwritten {
            return Err(Error::device(why).advise(advice));
        }
        match &self.ending {
            Ending::LineStopped(why) => Err(Error::check("the line was stopped")
                .because(why.clone())
                .advise("the audit says when and why; remove the cause before the belt runs again")),
            Ending::CameraEnded | Ending::Enough | Ending::Stopped => Ok(()),
        }
    }

    /// The summary as a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (name, count) in self.counters.named() {
            object.insert(name.into(), count.into());
        }
        if !self.lanes.is_empty() {
            let lanes = self.lanes.iter().map(|(lane, counters)| (lane.to_string(), of_lane(counters)));
            object.insert("lanes".into(), lanes.collect::<serde_json::Map<_, _>>().into());
        }
        object.insert("camera".into(), camera(&self.camera));
        object.insert("latency_ms".into(), percentiles(&self.latency_ms));
        object.insert("lateness_ms".into(), percentiles(&self.lateness_ms));
        object.insert("least_slack_ms".into(), self.least_slack_ms.into());
        object.insert("seconds".into(), self.took.as_secs_f64().into());
        let alarms = self.alarms.iter().map(|(alarm, times)| (alarm.to_string(), (*times).into()));
        object.insert("alarms".into(), alarms.collect::<serde_json::Map<_, _>>().into());
        object.insert("unreleased".into(), self.unreleased.clone().into());
        object.insert("unwritten".into(), self.unwritten.as_ref().map(|(why, _)| why.clone()).into());
        object.insert("unobserved".into(), self.unobserved.into());
        object.insert("ending".into(), self.ending.to_string().into());
        object.insert("audit".into(), self.audit.display().to_string().into());
        object.into()
    }
}

fn of_lane(counters: &Counters) -> serde_json::Value {
    counters
        .named()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn camera(counts: &CameraCounts) -> serde_json::Value {
    let CameraCounts { frames, lost, damaged, unreadable, doubtful, failures } = counts;
    serde_json::json!({
        "frames": frames, "lost": lost, "damaged": damaged, "unreadable": unreadable, "doubtful": doubtful,
        "failures": failures
    })
}

fn percentiles(times: &Percentiles) -> serde_json::Value {
    serde_json::json!({ "count": times.count, "p50": times.p50, "p99": times.p99, "max": times.max })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { parts, passed, rejected, unaccounted, .. } = self.counters;
        let seconds = self.took.as_secs_f64();
        writeln!(f, "parts         {parts} in {seconds:.1} s ({})", self.ending)?;
        writeln!(f, "  passed      {passed}\n  rejected    {rejected}\n  unaccounted {unaccounted}")?;
        for (lane, counters) in &self.lanes {
            let Counters { parts, passed, rejected, unaccounted, .. } = counters;
            writeln!(f, "lane {lane:<9}{parts}: {passed} passed, {rejected} rejected, {unaccounted} unaccounted")?;
        }
        let named = self.counters.named();
        let unknown = named[6..].iter().filter(|(_, count)| *count > 0);
        let list = unknown.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>();
        if !list.is_empty() {
            writeln!(f, "no verdict    {}", list.join(", "))?;
        }
        writeln!(f, "camera        {}", self.camera)?;
        writeln!(f, "verdict after {}", self.latency_ms)?;
        writeln!(f, "orders late   {}", self.lateness_ms)?;
        if let Some(slack) = self.least_slack_ms {
            writeln!(f, "least slack   {slack:.1} ms")?;
        }
        if !self.alarms.is_empty() {
            let list = self.alarms.iter().map(|(alarm, times)| format!("{alarm} {times}x")).collect::<Vec<_>>();
            writeln!(f, "alarms        {} (the audit says when and why)", list.join(", "))?;
        }
        write!(f, "audit         {}", self.audit.display())
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("-"),
            _ => write!(f, "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", self.p50, self.p99, self.max),
        }
    }
}

/// Gathers a run's times.
#[derive(Debug)]
pub(super) struct Tally {
    camera: CountsReader,
    latency: Histogram,
    lateness: Histogram,
    least_slack: Option<f64>,
    alarms: BTreeMap<Alarm, u64>,
    lanes: BTreeMap<Arc<str>, Counters>,
}

impl Tally {
    /// Of a run whose camera counts for `camera`.
    pub(super) fn of(camera: CountsReader) -> Self {
        let (latency, lateness) = (Histogram::default(), Histogram::default());
        let (alarms, lanes) = (BTreeMap::new(), BTreeMap::new());
        Tally { camera, latency, lateness, least_slack: None, alarms, lanes }
    }

    pub(super) fn alarm(&mut self, alarm: Alarm) {
        *self.alarms.entry(alarm).or_default() += 1;
    }

    /// From the capture to the verdict, so far.
    pub(super) fn latency(&self) -> Percentiles {
        spread(&self.latency)
    }

    pub(super) fn add(&mut self, record: &PartRecord) {
        if let Some(lane) = &record.lane {
            self.lanes.entry(lane.clone()).or_default().count(record);
        }
        if let Some(latency) = record.latency {
            self.latency.add(latency.total.as_secs_f64() * 1e3);
            self.least_slack = Some(self.least_slack.map_or(record.slack_ms, |least| least.min(record.slack_ms)));
        }
        if let Some(fired) = record.fired {
            self.lateness.add(fired.millis_since(record.planned));
        }
    }

    pub(super) fn summary(
        self,
        ending: Ending,
        counters: Counters,
        took: Duration,
        unreleased: Option<String>,
        unobserved: u64,
        audit: PathBuf,
    ) -> Summary {
        Summary {
            ending,
            counters,
            lanes: self.lanes,
            camera: self.camera.read(),
            latency_ms: spread(&self.latency),
            lateness_ms: spread(&self.lateness),
            least_slack_ms: self.least_slack,
            took,
            alarms: self.alarms,
            unreleased,
            unwritten: None,
            unobserved,
            audit,
        }
    }
}

fn spread(histogram: &Histogram) -> Percentiles {
    Percentiles {
        count: histogram.count(),
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.max(),
    }
}
