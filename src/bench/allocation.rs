//! Counts what the program asks of its allocator, so that a benchmark can say what a frame costs there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted. A program that wants figures makes it its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counted;

// SAFETY: every call goes to the system's allocator unchanged; the counters allocate nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(size: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(size as u64, Ordering::Relaxed);
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Allocations {
    /// How often.
    pub count: u64,
    /// Bytes in all, whether given back or not.
    pub bytes: u64,
}

impl Allocations {
    /// All of this process, on all threads, since it began. Zero where [`Counted`] is not the allocator.
    pub fn now() -> Self {
        Allocations { count: COUNT.load(Ordering::Relaxed), bytes: BYTES.load(Ordering::Relaxed) }
    }

    /// What has come since then, for each of `frames`, rounded.
    pub fn until_now(self, frames: u64) -> Self {
        let now = Self::now();
        let each = |now: u64, then: u64| (now - then + frames / 2) / frames.max(1);
        Allocations { count: each(now.count, self.count), bytes: each(now.bytes, self.bytes) }
    }
}
