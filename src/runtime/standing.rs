//! The alarms that stand, and who has seen them.
//!
//! It follows what the line core says of its alarms and says nothing back: that somebody acknowledges an alarm silences, ends and decides
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::line::Alarm;
use crate::time::Monotonic;

/// That a person has seen alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Who, as the record has it.
    pub(crate) by: String,
    /// The name of the alarm; `None`: all that stand.
    pub(crate) alarm: Option<String>,
    /// What they say of it.
    pub(crate) note: Option<String>,
}

#[derive(Debug)]
struct Raised {
    since: Monotonic,
    /// Who has seen it first, if anybody has.
    acknowledged: Option<String>,
}

/// The alarms that stand.
#[derive(Debug, Default)]
pub(super) struct Standing(BTreeMap<Alarm, Raised>);

impl Standing {
    pub(super) fn raise(&mut self, alarm: Alarm, at: Monotonic) {
        self.0.insert(alarm, Raised { since: at, acknowledged: None });
    }

    pub(super) fn clear(&mut self, alarm: Alarm) {
        self.0.remove(&alarm);
    }

    /// Which of those that stand are acknowledged, and when each was raised. They are once `record` has put that on record.
    ///
    /// # Errors
    ///
    /// None is: why.
    pub(super) fn acknowledge(
        &mut self,
        who: &Acknowledgement,
        record: impl FnOnce(&[(Alarm, Monotonic)]) -> Result<(), String>,
    ) -> Result<Vec<(Alarm, Monotonic)>, String> {
        if self.0.is_empty() {
            return Err("no alarm stands".into());
        }
        let is_meant = |alarm: &Alarm| who.alarm.as_ref().is_none_or(|name| *name == alarm.to_string());
        let meant = self.0.iter().filter(|(alarm, _)| is_meant(alarm));
        let meant = meant.map(|(alarm, raised)| (*alarm, raised.since)).collect::<Vec<_>>();
        if let (true, Some(name)) = (meant.is_empty(), &who.alarm) {
            return Err(format!("no alarm '{name}' stands, only: {self}"));
        }
        record(&meant)?;
        for (_, raised) in self.0.iter_mut().filter(|(alarm, _)| is_meant(alarm)) {
            raised.acknowledged.get_or_insert_with(|| who.by.clone());
        }
        Ok(meant)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (alarm, raised)) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            match &raised.acknowledged {
                Some(by) => write!(f, "{comma}{alarm} (acknowledged by {by})")?,
                None => write!(f, "{comma}{alarm} (not acknowledged)")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(by: &str, alarm: Option<&str>) -> Acknowledgement {
        Acknowledgement { by: by.into(), alarm: alarm.map(str::to_owned), note: None }
    }

    fn acknowledge(
        standing: &mut Standing,
        name: &str,
        alarm: Option<&str>,
    ) -> Result<Vec<(Alarm, Monotonic)>, String> {
        standing.acknowledge(&by(name, alarm), |_| Ok(()))
    }

    #[test]
    fn what_cannot_be_put_on_record_is_not_acknowledged() {
        let mut standing = Standing::default();
        standing.raise(Alarm::Drift, at(1));
        let refused = standing.acknowledge(&by("Anna", None), |_| Err("no room".into()));
        assert_eq!(refused, Err("no room".into()));
        assert_eq!(standing.to_string(), "drift (not acknowledged)");
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::default() + std::time::Duration::from_millis(ms)
    }

    #[test]
    fn an_acknowledged_alarm_stands_until_it_is_over_and_is_a_new_one_when_it_is_raised_again() {
        let mut standing = Standing::default();
        standing.raise(Alarm::Drift, at(1));
        standing.raise(Alarm::BinFull, at(2));
        assert_eq!(acknowledge(&mut standing, "Anna", Some("drift")), Ok(vec![(Alarm::Drift, at(1))]));
        assert_eq!(standing.to_string(), "bin-full (not acknowledged), drift (acknowledged by Anna)");
        assert_eq!(acknowledge(&mut standing, "Bob", None).unwrap().len(), 2);
        assert_eq!(standing.to_string(), "bin-full (acknowledged by Bob), drift (acknowledged by Anna)", "the first");
        standing.clear(Alarm::Drift);
        standing.raise(Alarm::Drift, at(3));
        assert_eq!(standing.to_string(), "bin-full (acknowledged by Bob), drift (not acknowledged)");
    }

    #[test]
    fn what_does_not_stand_is_not_acknowledged() {
        let mut standing = Standing::default();
        assert_eq!(acknowledge(&mut standing, "Anna", None), Err("no alarm stands".into()));
        standing.raise(Alarm::BinFull, at(1));
        let refused = acknowledge(&mut standing, "Anna", Some("drift")).unwrap_err();
        assert_eq!(refused, "no alarm 'drift' stands, only: bin-full (not acknowledged)");
        assert!(standing.to_string().contains("not acknowledged"));
    }
}
