//! What a general-purpose kernel offers for keeping deadlines; all of it is asked for and none of it is needed.

use std::io::Error;

/// The priority of the firing thread: above everything ordinary, below the kernel's own interrupt threads (50).
pub(crate) const PRIORITY: libc::c_int = 40;

/// Keeps the program's memory from being swapped out.
///
/// # Errors
///
/// Why it is not kept.
pub(crate) fn lock_memory() -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    // SAFETY: no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    // Under a limit, locking future memory would make a later allocation fail instead of this call.
    if limit.rlim_cur != libc::RLIM_INFINITY && !is_root {
        return Err(format!("not locked: this user may lock {} bytes", limit.rlim_cur));
    }
    // SAFETY: no preconditions; pages are locked when they are first touched.
    match unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } {
        0 => Ok(()),
        _ => Err(format!("not locked: {}", Error::last_os_error())),
    }
}

/// Asks for real-time scheduling of the calling thread.
///
/// # Errors
///
/// Why it has none.
pub(crate) fn schedule_first() -> Result<(), String> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameters` is a valid sched_param that outlives the call; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) } {
        0 => Ok(()),
        _ => Err(format!("no real-time priority: {}", Error::last_os_error())),
    }
}

/// As [`lock_memory`], told by the log.
pub(super) fn lock_memory_or_say() {
    match lock_memory() {
        Ok(()) => log::info!("memory is locked"),
        Err(why) => log::warn!("memory is {why} (allow it with LimitMEMLOCK=infinity)"),
    }
}

/// As [`schedule_first`], told by the log under the thread's name.
pub(super) fn schedule_first_or_say() {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    match schedule_first() {
        Ok(()) => log::info!("the {name} thread has real-time priority {PRIORITY}"),
        Err(why) => log::warn!("the {name} thread has {why} (allow it with LimitRTPRIO={PRIORITY})"),
    }
}
