//! What a general-purpose kernel offers for keeping deadlines; all of it is asked for and none of it is needed.

/// The priority of the firing thread: above everything ordinary, below the kernel's own interrupt threads (50).
const PRIORITY: libc::c_int = 40;

/// Keeps the program's memory from being swapped out.
pub(super) fn lock_memory() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    // SAFETY: no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    // Under a limit, locking future memory would make a later allocation fail instead of this call.
    if limit.rlim_cur != libc::RLIM_INFINITY && !is_root {
        return log::info!(
            "memory is not locked: this user may lock {} bytes (allow it with LimitMEMLOCK=infinity)",
            limit.rlim_cur
        );
    }
    // SAFETY: no preconditions; pages are locked when they are first touched.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    match result {
        0 => log::info!("memory is locked"),
        _ => log::info!("memory is not locked: {}", std::io::Error::last_os_error()),
    }
}

/// Asks for real-time scheduling of the calling thread.
pub(super) fn schedule_first() {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameters` is a valid sched_param that outlives the call; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
    match result {
        0 => log::info!("the ejector's thread has real-time priority {PRIORITY}"),
        _ => log::info!(
            "the ejector's thread has no real-time priority: {} (allow it with LimitRTPRIO={PRIORITY})",
            std::io::Error::last_os_error()
        ),
    }
}
