//! Working memory that calls share.

/// Elements that every scratch area may be read beyond its end: one vector of the widest tier, twice.
pub(crate) const SLACK: usize = 64;

/// Working memory of kernels: one per thread, shared by all kernels that run on it.
///
/// It grows to the largest kernel that it has served and never shrinks; [`Scratch::reserve`] makes it large enough before
/// the first call, after which running kernels allocates nothing. Its content means nothing between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    lines: Vec<Line>,
}

/// A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Scratch {
    /// Empty working memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it at least this many bytes large (a kernel's `scratch_bytes`).
    pub fn reserve(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(64);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; 64]));
        }
    }

    /// The start of at least `bytes` bytes, aligned to a cache line, initialised to anything.
    pub(crate) fn bytes(&mut self, bytes: usize) -> *mut u8 {
        self.reserve(bytes);
        self.lines.as_mut_ptr().cast()
    }
}
