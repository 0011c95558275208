//! Padded rows, split by the phase of the stride.
//!
//! A window that steps by `s` reads, for each of its columns, every `s`-th pixel. Rows are therefore copied once into working memory,
//! with their padding and with the pixels of each residue modulo `s` side by side (a *phase*): then every read of a kernel is a
//! contiguous vector, and no kernel knows of borders.

use crate::geometry::Window;
use crate::simd::Simd;

/// How one padded row lies in working memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhasedRow {
    width: usize,
    left: usize,
    right: usize,
    stride: usize,
    /// Elements from one phase to the next.
    phase: usize,
}

impl PhasedRow {
    /// The rows that a window reads to make `columns` outputs.
    pub(crate) fn new(window: &Window, columns: usize) -> Self {
        let (left, right, stride) = (window.padding.left, window.padding.right, window.stride[1]);
        let padded = (left + window.width + right).div_ceil(stride);
        let read = columns + (window.kernel[1] - 1) / stride;
        // The widest vector, 16, may be written and read beyond the last pixel.
        let phase = (padded.max(read) + 16).next_multiple_of(16);
        Self { width: window.width, left, right, stride, phase }
    }

    /// Elements of a row.
    pub(crate) fn pitch(&self) -> usize {
        self.phase * self.stride
    }

    /// Where a padded column lies.
    pub(crate) fn offset(&self, column: usize) -> usize {
        column % self.stride * self.phase + column / self.stride
    }

    /// Copies one row of pixels, and writes zeros beside them where `pads` says so.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `T` is the stride, or 0 for any; `pixels` has `readable >= width` elements, `row` has `pitch()`.
    #[inline(always)]
    unsafe fn fill<S: Simd, const T: usize>(&self, pixels: *const f32, readable: usize, row: *mut f32, pads: bool) {
        // SAFETY: vectors are read within `readable`; a vector that starts at a pixel of the row ends at most 16 elements
        // beyond the last pixel of its phase, which `phase` leaves room for.
        unsafe {
            let mut x = 0;
            if T == 1 {
                let at = row.add(self.left);
                while x < self.width && x + S::LANES <= readable {
                    S::store(at.add(x), S::load(pixels.add(x)));
                    x += S::LANES;
                }
            } else if T == 2 {
                let even = row.add(self.left % 2 * self.phase + self.left / 2);
                let odd = row.add((self.left + 1) % 2 * self.phase + self.left.div_ceil(2));
                while x < self.width && x + 2 * S::LANES <= readable {
                    let (a, b) = S::deinterleave(S::load(pixels.add(x)), S::load(pixels.add(x + S::LANES)));
                    S::store(even.add(x / 2), a);
                    S::store(odd.add(x / 2), b);
                    x += 2 * S::LANES;
                }
            }
            for x in x..self.width {
                *row.add(self.offset(self.left + x)) = *pixels.add(x);
            }
            if pads || !self.width.is_multiple_of(S::LANES * T.max(1)) {
                for column in (0..self.left).chain(self.left + self.width..self.left + self.width + self.right) {
                    *row.add(self.offset(column)) = 0.0;
                }
            }
        }
    }

    /// Copies rows `from..to` of a padded image into working memory.
    ///
    /// Zeros around the image are written where `pads` says so: they stay from one image to the next when all rows lie as before.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `T` is the stride to the right, or 0 for any; `plane` has `readable >= height * width` elements,
    /// `rows` has `(to - from) * pitch()`.
    #[inline(always)]
    pub(crate) unsafe fn fill_rows<S: Simd, const T: usize>(
        &self,
        window: &Window,
        (plane, readable): (*const f32, usize),
        (from, to): (usize, usize),
        rows: *mut f32,
        pads: bool,
    ) {
        // SAFETY: rows above and below the image are not read; those within it end before `readable`.
        unsafe {
            for (i, padded) in (from..to).enumerate() {
                let row = rows.add(i * self.pitch());
                match padded.checked_sub(window.padding.top) {
                    Some(y) if y < window.height => {
                        let start = y * window.width;
                        self.fill::<S, T>(plane.add(start), readable - start, row, pads);
                    }
                    _ if pads => row.write_bytes(0, self.pitch()),
                    _ => {}
                }
            }
        }
    }
}
