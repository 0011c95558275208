//! What the machine itself offers: a clock that is right, and what a general-purpose kernel has for keeping deadlines.

use super::Finding;
use crate::audit;
use crate::runtime::realtime;

pub(super) fn check(tell: &mut impl FnMut(Finding)) {
    tell(match audit::is_synchronised() {
        true => Finding::ok("clock", "kept right (NTP or PTP)"),
        false => {
            let advice =
                "records say so; let chrony or systemd-timesyncd set the clock, so that their times mean something";
            Finding::note("clock", "nobody keeps it right", advice)
        }
    });
    // On a thread of its own: nothing else of this program should have that priority.
    let scheduling = std::thread::spawn(realtime::schedule_first).join();
    tell(match scheduling.unwrap_or_else(|_| Err("the thread that asked for it panicked".into())) {
        Ok(()) => Finding::ok("scheduling", format!("SCHED_FIFO, priority {}", realtime::PRIORITY)),
        Err(why) => Finding::note(
            "scheduling",
            why,
            format!("on a busy machine rejects may be late: allow it with LimitRTPRIO={}", realtime::PRIORITY),
        ),
    });
    tell(match realtime::lock_memory() {
        Ok(()) => Finding::ok("memory", "locked: it is never swapped out"),
        Err(why) => Finding::note(
            "memory",
            why,
            "where memory is short, rejects may be late: allow it with LimitMEMLOCK=infinity",
        ),
    });
}
