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
    /// The CPU has the features of `S`; `T` is the stride, or 0 for any; `pixels` has a row from `start` on, `row` has `pitch()`.
    #[inline(always)]
    unsafe fn fill<S: Simd, P: Pixels, const T: usize>(self, pixels: P, start: usize, row: *mut f32, pads: bool) {
        let readable = pixels.len() - start;
        // SAFETY: vectors are read within `readable`; a vector that starts at a pixel of the row ends at most 16 elements
        // beyond the last pixel of its phase, which `phase` leaves room for.
        unsafe {
            let mut x = 0;
            if T == 1 {
                let at = row.add(self.left);
                while x + 4 * S::LANES <= self.width {
                    for (v, four) in pixels.load_four::<S>(start + x).into_iter().enumerate() {
                        S::store(at.add(x + v * S::LANES), four);
                    }
                    x += 4 * S::LANES;
                }
                while x < self.width && x + S::LANES <= readable {
                    S::store(at.add(x), pixels.load::<S>(start + x));
                    x += S::LANES;
                }
            } else if T == 2 {
                let even = row.add(self.left % 2 * self.phase + self.left / 2);
                let odd = row.add((self.left + 1) % 2 * self.phase + self.left.div_ceil(2));
                while x + 4 * S::LANES <= self.width {
                    for (v, (a, b)) in pixels.load_two_pairs::<S>(start + x).into_iter().enumerate() {
                        S::store(even.add(x / 2 + v * S::LANES), a);
                        S::store(odd.add(x / 2 + v * S::LANES), b);
                    }
                    x += 4 * S::LANES;
                }
                while x < self.width && x + 2 * S::LANES <= readable {
                    let (a, b) = pixels.load_pairs::<S>(start + x);
                    S::store(even.add(x / 2), a);
                    S::store(odd.add(x / 2), b);
                    x += 2 * S::LANES;
                }
            }
            for x in x..self.width {
                *row.add(self.offset(self.left + x)) = pixels.one(start + x);
            }
            if pads || !self.width.is_multiple_of(S::LANES * T.max(1)) {
                for column in (0..self.left).chain(self.left + self.width..self.left + self.width + self.right) {
                    *row.add(self.offset(column)) = 0.0;
                }
            }
        }
    }

    /// Copies rows `from..to` of a padded image, which starts at `plane`, into working memory.
    ///
    /// Zeros around the image are written where `pads` says so: they stay from one image to the next when all rows lie as before.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `pixels` has `height * width` elements from `plane` on, `rows` has `(to - from) * pitch()`.
    #[inline(always)]
    pub(crate) unsafe fn fill_rows<S: Simd, P: Pixels>(
        self,
        window: Window,
        (pixels, plane): (P, usize),
        (from, to): (usize, usize),
        rows: *mut f32,
        pads: bool,
    ) {
        // SAFETY: rows above and below the image are not read; those within it end before its end.
        unsafe {
            for (i, padded) in (from..to).enumerate() {
                let row = rows.add(i * self.pitch());
                match padded.checked_sub(window.padding.top) {
                    Some(y) if y < window.height => {
                        let start = plane + y * window.width;
                        match self.stride {
                            1 => self.fill::<S, P, 1>(pixels, start, row, pads),
                            2 => self.fill::<S, P, 2>(pixels, start, row, pads),
                            _ => self.fill::<S, P, 0>(pixels, start, row, pads),
                        }
                    }
                    _ if pads => row.write_bytes(0, self.pitch()),
                    _ => {}
                }
            }
        }
    }

    /// Copies rows `from..to` of one padded plane of bytes, with `zero` around it.
    ///
    /// # Safety
    /// `rows` has `(to - from) * pitch()` bytes.
    #[inline(always)]
    pub(crate) unsafe fn fill_bytes(
        &self,
        window: &Window,
        plane: &[u8],
        (from, to): (usize, usize),
        rows: *mut u8,
        zero: u8,
    ) {
        for (i, padded) in (from..to).enumerate() {
            // SAFETY: the caller's rows; they are initialised memory.
            let row = unsafe { std::slice::from_raw_parts_mut(rows.add(i * self.pitch()), self.pitch()) };
            let Some(y) = padded.checked_sub(window.padding.top).filter(|&y| y < window.height) else {
                row.fill(zero);
                continue;
            };
            let pixels = &plane[y * self.width..][..self.width];
            for first in 0..self.stride.min(self.width) {
                let phase = &mut row[self.offset(self.left + first)..];
                match self.stride {
                    1 => phase[..self.width].copy_from_slice(pixels),
                    2 => every::<2>(&pixels[first..], phase),
                    stride => phase.iter_mut().zip(pixels[first..].iter().step_by(stride)).for_each(|(to, &p)| *to = p),
                }
            }
            for column in (0..self.left).chain(self.left + self.width..self.left + self.width + self.right) {
                row[self.offset(column)] = zero;
            }
        }
    }
}

/// Copies every `T`-th byte: whole groups of them, which the compiler turns into vectors, and the last.
#[inline(always)]
fn every<const T: usize>(from: &[u8], to: &mut [u8]) {
    let (groups, rest) = from.as_chunks::<T>();
    for (to, group) in to.iter_mut().zip(groups) {
        *to = group[0];
    }
    if let Some(&last) = rest.first() {
        to[groups.len()] = last;
    }
}

/// Pixels that become `f32` as they are copied.
pub(crate) trait Pixels: Copy {
    /// How many there are.
    fn len(self) -> usize;

    /// # Safety
    /// The CPU has the features of `S`; there are `LANES` pixels from `at` on.
    unsafe fn load<S: Simd>(self, at: usize) -> S::V;

    /// The same of `4 * LANES` pixels.
    ///
    /// # Safety
    /// As [`Pixels::load`].
    unsafe fn load_four<S: Simd>(self, at: usize) -> [S::V; 4];

    /// The pixels of even and of odd index.
    ///
    /// # Safety
    /// The CPU has the features of `S`; there are `2 * LANES` pixels from `at` on.
    unsafe fn load_pairs<S: Simd>(self, at: usize) -> (S::V, S::V);

    /// The same of `4 * LANES` pixels.
    ///
    /// # Safety
    /// As [`Pixels::load_pairs`].
    unsafe fn load_two_pairs<S: Simd>(self, at: usize) -> [(S::V, S::V); 2];

    /// One pixel.
    fn one(self, at: usize) -> f32;
}

impl Pixels for &[f32] {
    #[inline(always)]
    fn len(self) -> usize {
        <[f32]>::len(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, at: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::load(self.as_ptr().add(at)) }
    }

    #[inline(always)]
    unsafe fn load_four<S: Simd>(self, at: usize) -> [S::V; 4] {
        // SAFETY: the caller's.
        unsafe {
            let p = self.as_ptr().add(at);
            [S::load(p), S::load(p.add(S::LANES)), S::load(p.add(2 * S::LANES)), S::load(p.add(3 * S::LANES))]
        }
    }

    #[inline(always)]
    unsafe fn load_pairs<S: Simd>(self, at: usize) -> (S::V, S::V) {
        // SAFETY: the caller's.
        unsafe { S::load_pairs(self.as_ptr().add(at)) }
    }

    #[inline(always)]
    unsafe fn load_two_pairs<S: Simd>(self, at: usize) -> [(S::V, S::V); 2] {
        // SAFETY: the caller's.
        unsafe { [self.load_pairs::<S>(at), self.load_pairs::<S>(at + 2 * S::LANES)] }
    }

    #[inline(always)]
    fn one(self, at: usize) -> f32 {
        self[at]
    }
}

/// Quantized pixels, from which their zero point is taken.
#[derive(Clone, Copy)]
pub(crate) struct Centred<'a> {
    /// The pixels.
    pub(crate) bytes: &'a [u8],
    /// What stands for 0.
    pub(crate) zero: u8,
}

impl Centred<'_> {
    /// # Safety
    /// The CPU has the features of `S`.
    #[inline(always)]
    unsafe fn off_zero<S: Simd>(self, bytes: S::V) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::sub(bytes, S::splat(self.zero.into())) }
    }
}

impl Pixels for Centred<'_> {
    #[inline(always)]
    fn len(self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, at: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe { self.off_zero::<S>(S::load_bytes(self.bytes.as_ptr().add(at))) }
    }

    #[inline(always)]
    unsafe fn load_four<S: Simd>(self, at: usize) -> [S::V; 4] {
        // SAFETY: the caller's.
        unsafe {
            let [a, b, c, d] = S::load_bytes_four(self.bytes.as_ptr().add(at));
            [self.off_zero::<S>(a), self.off_zero::<S>(b), self.off_zero::<S>(c), self.off_zero::<S>(d)]
        }
    }

    #[inline(always)]
    unsafe fn load_pairs<S: Simd>(self, at: usize) -> (S::V, S::V) {
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = S::load_byte_pairs(self.bytes.as_ptr().add(at));
            (self.off_zero::<S>(even), self.off_zero::<S>(odd))
        }
    }

    #[inline(always)]
    unsafe fn load_two_pairs<S: Simd>(self, at: usize) -> [(S::V, S::V); 2] {
        // SAFETY: the caller's.
        unsafe {
            let [(a, b), (c, d)] = S::load_byte_pairs_two(self.bytes.as_ptr().add(at));
            [(self.off_zero::<S>(a), self.off_zero::<S>(b)), (self.off_zero::<S>(c), self.off_zero::<S>(d))]
        }
    }

    #[inline(always)]
    fn one(self, at: usize) -> f32 {
        f32::from(self.bytes[at]) - f32::from(self.zero)
    }
}
