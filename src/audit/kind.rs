//! The kinds of records.

use serde::{Serialize, Serializer};

/// What a record tells of: its field `kind`. docs/audit.md says what each holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The line was armed.
    Start,
    /// What became of a part.
    Part,
    /// A device failed.
    Fault,
    /// A device works again.
    Recovery,
    /// An alarm was raised, or is over.
    Alarm,
    /// Something else that a reader should know.
    Note,
    /// Somebody sends known bad pieces.
    ChallengeBegun,
    /// Whether they were all found.
    Challenge,
    /// The run before ended without a word.
    Interrupted,
    /// The log goes on in this file.
    Continued,
    /// Something that decides about parts is another than in the run before.
    Changed,
    /// Nobody gave a name and a reason for that.
    UnnamedChange,
    /// A test for drift began.
    DriftBegun,
    /// The clock on the wall was set.
    ClockStep,
    /// There is little room on the disk, or enough again.
    DiskPressure,
    /// What became of a picture after its part was written down.
    Picture,
    /// Pictures were removed by their age or for space.
    PicturesRemoved,
    /// All lines before, signed.
    Checkpoint,
    /// An unfinished last line was cut off.
    Repaired,
    /// Records found no room.
    Lost,
    /// The run ended in good order.
    Stop,
}

impl Kind {
    /// All of them, in the order of the documentation.
    pub const ALL: [Kind; 21] = [
        Kind::Start,
        Kind::Part,
        Kind::Fault,
        Kind::Recovery,
        Kind::Alarm,
        Kind::Note,
        Kind::ChallengeBegun,
        Kind::Challenge,
        Kind::Interrupted,
        Kind::Continued,
        Kind::Changed,
        Kind::UnnamedChange,
        Kind::DriftBegun,
        Kind::ClockStep,
        Kind::DiskPressure,
        Kind::Picture,
        Kind::PicturesRemoved,
        Kind::Checkpoint,
        Kind::Repaired,
        Kind::Lost,
        Kind::Stop,
    ];

    /// As the field says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Start => "start",
            Kind::Part => "part",
            Kind::Fault => "fault",
            Kind::Recovery => "recovery",
            Kind::Alarm => "alarm",
            Kind::Note => "note",
            Kind::ChallengeBegun => "challenge-begun",
            Kind::Challenge => "challenge",
            Kind::Interrupted => "interrupted",
            Kind::Continued => "continued",
            Kind::Changed => "changed",
            Kind::UnnamedChange => "unnamed-change",
            Kind::DriftBegun => "drift-begun",
            Kind::ClockStep => "clock-step",
            Kind::DiskPressure => "disk-pressure",
            Kind::Picture => "picture",
            Kind::PicturesRemoved => "pictures-removed",
            Kind::Checkpoint => "checkpoint",
            Kind::Repaired => "repaired",
            Kind::Lost => "lost",
            Kind::Stop => "stop",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_documented() {
        let documentation = include_str!("../../docs/audit.md");
        for kind in Kind::ALL {
            assert!(documentation.contains(&format!("| `{}` |", kind.as_str())), "{}", kind.as_str());
        }
    }
}
