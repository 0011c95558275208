//! What the program holds of the system's memory.

/// While it lives, the program starts: much is read, turned into something else and let go, as files, the graph in its several forms and
/// what golden frames are computed with. All of that goes back to the system, during the start and at its end.
///
/// The GNU C library would keep it for the threads that share the starting thread's heap; but frames are inspected on threads that have heaps of
/// their own. There the frames' tensors are kept from then on, or each would cost a page fault for every 4 KiB. It begins and ends before
/// the first frame and before memory is locked, which cannot be given back. Other C libraries give back what is free by themselves.
#[must_use]
pub(crate) struct Starting(());

impl Starting {
    pub(crate) fn begin() -> Self {
        settings::start();
        Starting(())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        settings::frames();
    }
}

#[cfg(target_env = "gnu")]
mod settings {
    use libc::c_int;

    /// Blocks of this size are mapped by themselves during the start, and unmapped when they are let go: as glibc has it before it
    /// adapts itself to what it saw.
    const MAPPED_AT_START: c_int = 128 << 10;
    /// The largest size that glibc would come to by adapting itself: on 64 bits no tensor of a frame is mapped by itself.
    const MAPPED: c_int = if cfg!(target_pointer_width = "64") { 32 << 20 } else { 512 << 10 };
    /// So much may be free at a heap's end, as glibc would have it then: twice as much.
    const KEPT: c_int = 2 * MAPPED;

    pub(super) fn start() {
        set(libc::M_MMAP_THRESHOLD, MAPPED_AT_START);
    }

    pub(super) fn frames() {
        set(libc::M_MMAP_THRESHOLD, MAPPED);
        set(libc::M_TRIM_THRESHOLD, KEPT);
        // SAFETY: no preconditions; pages go that nobody has anything in.
        unsafe { libc::malloc_trim(0) };
    }

    /// What is refused changes nothing but how much memory is held.
    fn set(parameter: c_int, value: c_int) {
        // SAFETY: glibc's parameters may be set at any time, by any thread.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
mod settings {
    pub(super) fn start() {}
    pub(super) fn frames() {}
}
