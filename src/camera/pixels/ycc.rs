//! From Y'CbCr to R'G'B', by the matrix of ITU-R BT.601-7 with the quantization of its section 2.5.3 ("limited range": luma
//! 16..235, chroma 16..240), which is what V4L2 prescribes for cameras that do not say otherwise (`V4L2_YCBCR_ENC_601`,
//! `V4L2_QUANTIZATION_LIM_RANGE`).

use std::ops::Range;

use image::RgbImage;

use super::Plane;

/// Pixels that are converted together: so many that the compiler makes whole vectors of them on every processor.
const RUN: usize = 32;

/// Converts a row of packed 4:2:2 pixel pairs; `order` says which of a pair's four bytes are Y0, Y1, Cb, Cr.
pub(super) fn packed(row: &[u8], rgb: &mut [u8], order: [usize; 4]) {
    let pairs = row.as_chunks::<4>().0;
    for (pairs, rgb) in pairs.chunks(RUN / 2).zip(rgb.chunks_mut(3 * RUN)) {
        let mut run = Run::default();
        for (i, pair) in pairs.iter().enumerate() {
            let [y0, y1, cb, cr] = order.map(|index| pair[index]);
            run.luma[2 * i..2 * i + 2].copy_from_slice(&[y0, y1]);
            (run.cb[i], run.cr[i]) = (cb, cr);
        }
        run.convert(rgb);
    }
}

/// Converts a plane of luma and one of interleaved Cb Cr, of which every row stands for `lines` rows.
pub(super) fn semi_planar(planes: &[Plane], lines: usize, image: &mut RgbImage) {
    each_run(&planes[0], image, |y, pairs, run| {
        let row = planes[1].row(y / lines)[2 * pairs.start..2 * pairs.end].as_chunks::<2>().0;
        for (i, [cb, cr]) in row.iter().enumerate() {
            (run.cb[i], run.cr[i]) = (*cb, *cr);
        }
    });
}

/// Converts planes of luma, Cb and Cr; every row of the latter stands for `lines` rows.
pub(super) fn planar(planes: &[Plane], lines: usize, image: &mut RgbImage) {
    each_run(&planes[0], image, |y, pairs, run| {
        run.cb[..pairs.len()].copy_from_slice(&planes[1].row(y / lines)[pairs.clone()]);
        run.cr[..pairs.len()].copy_from_slice(&planes[2].row(y / lines)[pairs]);
    });
}

/// Converts run by run; `fill` gives the chroma of a row's pairs of pixels.
fn each_run(luma: &Plane, image: &mut RgbImage, fill: impl Fn(usize, Range<usize>, &mut Run)) {
    let width = image.width() as usize;
    for (y, rgb) in image.chunks_exact_mut(width * 3).enumerate() {
        let runs = luma.row(y)[..width].chunks(RUN).zip(rgb.chunks_mut(3 * RUN));
        for (number, (luma, rgb)) in runs.enumerate() {
            let mut run = Run::default();
            run.luma[..luma.len()].copy_from_slice(luma);
            let first = number * RUN / 2;
            // A row of odd width ends in half a pair.
            fill(y, first..first + luma.len().div_ceil(2), &mut run);
            run.convert(rgb);
        }
    }
}

/// Pixels side by side; a row's last ones may be fewer.
#[derive(Default)]
struct Run {
    luma: [u8; RUN],
    /// Of pairs of pixels.
    cb: [u8; RUN / 2],
    /// Of pairs of pixels.
    cr: [u8; RUN / 2],
}

impl Run {
    /// Converts as many pixels as `rgb` takes.
    ///
    /// With Kr = 0.299, Kb = 0.114 (BT.601-7, 2.5.1) and the ranges of 2.5.3, the factors are, in 1/65536 below,
    ///
    /// ```text
    /// luma   255/219                                        = 1.164384
    /// R, Cr  2 (1 - Kr) 255/224                             = 1.596027
    /// G, Cb  2 (1 - Kb) Kb / (1 - Kr - Kb) 255/224          = 0.391762
    /// G, Cr  2 (1 - Kr) Kr / (1 - Kr - Kb) 255/224          = 0.812968
    /// B, Cb  2 (1 - Kb) 255/224                             = 2.017232
    /// ```
    fn convert(&self, rgb: &mut [u8]) {
        let level = |value: i32| (value >> 16).clamp(0, 255) as u8;
        // In loops of their own, of which the compiler makes vectors: a pair's chroma for both of its pixels, and channel by channel.
        let (mut all_cb, mut all_cr) = ([0; RUN], [0; RUN]);
        for i in 0..RUN / 2 {
            let (cb, cr) = (i32::from(self.cb[i]) - 128, i32::from(self.cr[i]) - 128);
            (all_cb[2 * i], all_cb[2 * i + 1]) = (cb, cb);
            (all_cr[2 * i], all_cr[2 * i + 1]) = (cr, cr);
        }
        let (mut red, mut green, mut blue) = ([0; RUN], [0; RUN], [0; RUN]);
        for i in 0..RUN {
            let luma = 76_309 * (i32::from(self.luma[i]) - 16) + (1 << 15);
            red[i] = level(luma + 104_597 * all_cr[i]);
            green[i] = level(luma - 25_675 * all_cb[i] - 53_279 * all_cr[i]);
            blue[i] = level(luma + 132_201 * all_cb[i]);
        }
        let pixels = red.iter().zip(&green).zip(&blue);
        for (pixel, ((red, green), blue)) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *pixel = [*red, *green, *blue];
        }
    }
}
