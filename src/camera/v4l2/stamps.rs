//! Which time stamps of a driver are believed: a reject fires by them.

use std::time::Duration;

use crate::time::{Monotonic, StampSource};

/// How far after its receipt a frame may be stamped: two readings of one clock, on two cores.
const AHEAD: Duration = Duration::from_millis(1);

/// The stamps of one camera, in the order in which its frames came.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    last: Option<Monotonic>,
    warned: bool,
}

/// When a frame was captured.
#[derive(Debug, PartialEq)]
pub(super) struct Stamped {
    pub(super) captured: Monotonic,
    pub(super) source: StampSource,
    /// Why the driver's stamp is not believed.
    pub(super) doubt: Option<String>,
}

impl Stamps {
    /// The capture of a frame that was stamped `stamp` (`None`: not on the monotonic clock) and received at `received`.
    ///
    /// A stamp that lies before the one of an earlier frame, or after its own receipt, is of a clock that cannot be trusted
    /// (drivers that convert their device's clock do get it wrong). How old a stamp may be is not limited here: a frame that
    /// waited long is old, and a part that is past its ejector is never passed.
    pub(super) fn read(
        &mut self,
        camera: &str,
        stamp: Option<(Monotonic, StampSource)>,
        received: Monotonic,
    ) -> Stamped {
        let Some((captured, source)) = stamp else {
            if !std::mem::replace(&mut self.warned, true) {
                log::warn!(
                    "camera {camera} does not stamp frames on the monotonic clock: a frame's time is when it was received, \
                     which is later by the exposure and the transfer"
                );
            }
            return Stamped { captured: received, source: StampSource::Received, doubt: None };
        };
        let doubt = if captured > received + AHEAD {
            Some(format!("its time stamp lies {:.1} ms in the future", captured.millis_since(received)))
        } else {
            let last = self.last.replace(captured).filter(|last| captured < *last);
            last.map(|last| {
                format!("its time stamp lies {:.1} ms before that of the frame before it", last.millis_since(captured))
            })
        };
        match doubt {
            None => Stamped { captured, source, doubt },
            Some(_) => Stamped { captured: received, source: StampSource::Doubtful, doubt },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_stamp_from_the_future_or_before_the_last_one_is_not_believed() {
        let mut stamps = Stamps::default();
        let mut read = |stamp: u64, received: u64| {
            let stamped = stamps.read("belt", Some((at(stamp), StampSource::EndOfFrame)), at(received));
            (stamped.captured, stamped.source, stamped.doubt.unwrap_or_default())
        };
        let believed = |ms| (at(ms), StampSource::EndOfFrame, String::new());
        let doubted = |ms, why: &str| (at(ms), StampSource::Doubtful, format!("its time stamp lies {why}"));
        assert_eq!(read(100, 120), believed(100));
        assert_eq!(read(141, 140), believed(141), "two readings of one clock");
        assert_eq!(read(900, 160), doubted(160, "740.0 ms in the future"));
        assert_eq!(read(170, 180), believed(170), "the wrong stamp is forgotten");
        assert_eq!(read(20, 200), doubted(200, "150.0 ms before that of the frame before it"));
        assert_eq!(read(30, 220), believed(30), "a clock that was set back is followed again");
        assert_eq!(read(40, 90_000), believed(40), "a frame may wait");
    }

    #[test]
    fn without_a_stamp_the_receipt_counts() {
        let stamped = Stamps::default().read("belt", None, at(50));
        assert_eq!(stamped, Stamped { captured: at(50), source: StampSource::Received, doubt: None });
    }
}
