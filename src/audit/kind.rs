//! The kinds of records.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Makes of one list what would otherwise be several that have to say the same.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What a record tells of: its field `kind`. docs/audit.md says what each holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them, in the order of the documentation.
            pub const ALL: [Kind; [$($name),*].len()] = [$(Kind::$kind),*];

            /// As the field says it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The line was armed.
    Start = "start",
    /// What became of a part.
    Part = "part",
    /// A device failed.
    Fault = "fault",
    /// A device works again.
    Recovery = "recovery",
    /// An alarm was raised, or is over.
    Alarm = "alarm",
    /// A person has seen alarms that stand.
    Acknowledgement = "acknowledgement",
    /// Something else that a reader should know.
    Note = "note",
    /// Somebody sends known bad pieces.
    ChallengeBegun = "challenge-begun",
    /// Whether they were all found.
    Challenge = "challenge",
    /// The run before ended without a word.
    Interrupted = "interrupted",
    /// The log goes on in this file.
    Continued = "continued",
    /// Something that decides about parts is another than in the run before.
    Changed = "changed",
    /// Nobody gave a name and a reason for that.
    UnnamedChange = "unnamed-change",
    /// What accepted parts look like has changed.
    Drift = "drift",
    /// A test for drift began.
    DriftBegun = "drift-begun",
    /// The clock on the wall was set.
    ClockStep = "clock-step",
    /// There is little room on the disk, or enough again.
    DiskPressure = "disk-pressure",
    /// What became of a picture after its part was written down.
    Picture = "picture",
    /// Pictures were removed by their age or for space.
    PicturesRemoved = "pictures-removed",
    /// The oldest closed files of the log were removed by their age or for space.
    LogRemoved = "log-removed",
    /// All lines before, signed.
    Checkpoint = "checkpoint",
    /// An unfinished last line was cut off.
    Repaired = "repaired",
    /// Records found no room.
    Lost = "lost",
    /// The run ended in good order.
    Stop = "stop",
}

impl Kind {
    /// The kind of this name; `None` for one of a newer program.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Reads a record's kind; `None` for one of a newer program.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Kind>, D::Error> {
    String::deserialize(deserializer).map(|name| Kind::of(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_documented_and_no_other_and_in_this_order() {
        let documentation = include_str!("../../docs/audit.md");
        let table = documentation.split_once("\n## Kinds\n").unwrap().1.split_once("\n## ").unwrap().0;
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        assert_eq!(rows.map(|(kind, _)| kind).collect::<Vec<_>>(), Kind::ALL.map(Kind::as_str));
    }

    #[test]
    fn a_kind_is_found_by_its_name_and_one_of_a_newer_program_is_none() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::of(kind.as_str()) == Some(kind)));
        assert_eq!(Kind::of("a kind of next year"), None);
    }
}
