//! From Y'CbCr to R'G'B', by the matrix of ITU-R BT.601-7 with the quantization of its section 2.5.3 ("limited range": luma
//! 16..235, chroma 16..240), which is what V4L2 prescribes for cameras that do not say otherwise (`V4L2_YCBCR_ENC_601`,
//! `V4L2_QUANTIZATION_LIM_RANGE`).

use image::RgbImage;

use super::Plane;

/// Converts a row of packed 4:2:2 pixel pairs; `order` says which of a pair's four bytes are Y0, Y1, Cb, Cr.
pub(super) fn packed(row: &[u8], rgb: &mut [u8], order: [usize; 4]) {
    for (pair, rgb) in row.chunks_exact(4).zip(rgb.chunks_mut(6)) {
        let [y0, y1, cb, cr] = order.map(|index| pair[index]);
        convert_pair(&[y0, y1], &Chroma::new(cb, cr), rgb);
    }
}

/// Converts a plane of luma and one of interleaved Cb Cr, of which every row stands for `lines` rows.
pub(super) fn semi_planar(planes: &[Plane], lines: usize, image: &mut RgbImage) {
    each_pair(&planes[0], image, |y, pair| {
        let row = planes[1].row(y / lines);
        Chroma::new(row[2 * pair], row[2 * pair + 1])
    });
}

/// Converts planes of luma, Cb and Cr; every row of the latter stands for `lines` rows.
pub(super) fn planar(planes: &[Plane], lines: usize, image: &mut RgbImage) {
    each_pair(&planes[0], image, |y, pair| Chroma::new(planes[1].row(y / lines)[pair], planes[2].row(y / lines)[pair]));
}

/// Converts every pair of pixels by the chroma that `at` gives for its row and its place in it.
fn each_pair(luma: &Plane, image: &mut RgbImage, at: impl Fn(usize, usize) -> Chroma) {
    let width = image.width() as usize;
    for (y, rgb) in image.chunks_exact_mut(width * 3).enumerate() {
        let luma = &luma.row(y)[..width];
        for (pair, (luma, rgb)) in luma.chunks(2).zip(rgb.chunks_mut(6)).enumerate() {
            convert_pair(luma, &at(y, pair), rgb);
        }
    }
}

/// A row of odd width ends in half a pair.
fn convert_pair(luma: &[u8], chroma: &Chroma, rgb: &mut [u8]) {
    for (luma, rgb) in luma.iter().zip(rgb.chunks_exact_mut(3)) {
        rgb.copy_from_slice(&chroma.with_luma(*luma));
    }
}

/// What a pair of chroma samples adds to red, green and blue, in 1/65536.
///
/// With Kr = 0.299, Kb = 0.114 (BT.601-7, 2.5.1) and the ranges of 2.5.3, the factors are
///
/// ```text
/// luma   255/219                                        = 1.164384
/// R, Cr  2 (1 - Kr) 255/224                             = 1.596027
/// G, Cb  2 (1 - Kb) Kb / (1 - Kr - Kb) 255/224          = 0.391762
/// G, Cr  2 (1 - Kr) Kr / (1 - Kr - Kb) 255/224          = 0.812968
/// B, Cb  2 (1 - Kb) 255/224                             = 2.017232
/// ```
pub(super) struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

impl Chroma {
    pub(super) fn new(cb: u8, cr: u8) -> Self {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        Chroma { red: 104_597 * cr, green: -25_675 * cb - 53_279 * cr, blue: 132_201 * cb }
    }

    pub(super) fn with_luma(&self, y: u8) -> [u8; 3] {
        let luma = 76_309 * (i32::from(y) - 16) + (1 << 15);
        let level = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [level(luma + self.red), level(luma + self.green), level(luma + self.blue)]
    }
}
