//! Every format on pictures worked out by hand.

use image::codecs::jpeg::JpegEncoder;

use super::*;
use crate::jpeg::SOI;

/// The colours of 100% colour bars as Y'CbCr by BT.601-7, 2.5.3 (rounded to integers there) and as RGB.
const BARS: [([u8; 3], [u8; 3]); 8] = [
    ([235, 128, 128], [255, 255, 255]),
    ([210, 16, 146], [255, 255, 0]),
    ([170, 166, 16], [0, 255, 255]),
    ([145, 54, 34], [0, 255, 0]),
    ([106, 202, 222], [255, 0, 255]),
    ([81, 90, 240], [255, 0, 0]),
    ([41, 240, 110], [0, 0, 255]),
    ([16, 128, 128], [0, 0, 0]),
];

/// What a pair of chroma samples adds to red, green and blue, in 1/65536: pixel by pixel, as the standard has it.
struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

impl Chroma {
    fn new(cb: u8, cr: u8) -> Self {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        Chroma { red: 104_597 * cr, green: -25_675 * cb - 53_279 * cr, blue: 132_201 * cb }
    }

    fn with_luma(&self, y: u8) -> [u8; 3] {
        let luma = 76_309 * (i32::from(y) - 16) + (1 << 15);
        let level = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [level(luma + self.red), level(luma + self.green), level(luma + self.blue)]
    }
}

fn pixels(image: &RgbImage) -> Vec<[u8; 3]> {
    image.pixels().map(|pixel| pixel.0).collect()
}

#[test]
fn limited_range_luma_and_chroma_become_the_reference_colours() {
    for (ycc, rgb) in BARS {
        let [y, cb, cr] = ycc;
        let image = Layout::new(PixelFormat::Yuyv, 2, 1, 4).to_rgb(&[&[y, cb, y, cr]]).unwrap();
        for pixel in pixels(&image) {
            let off = (0..3).map(|i| pixel[i].abs_diff(rgb[i])).max().unwrap();
            assert!(off <= 2, "{ycc:?} became {pixel:?}, which should be {rgb:?}");
        }
    }
}

#[test]
fn values_worked_out_by_hand() {
    // R = 1.164384 (100 - 16) + 1.596027 (150 - 128) = 97.808 + 35.113 = 132.92
    // G = 97.808 - 0.391762 (90 - 128) - 0.812968 (150 - 128) = 97.808 + 14.887 - 17.885 = 94.81
    // B = 97.808 + 2.017232 (90 - 128) = 97.808 - 76.655 = 21.15
    assert_eq!(Chroma::new(90, 150).with_luma(100), [133, 95, 21]);
    // Blacker than black and whiter than white are clamped.
    assert_eq!(Chroma::new(128, 128).with_luma(0), [0, 0, 0]);
    assert_eq!(Chroma::new(128, 128).with_luma(255), [255, 255, 255]);
}

struct Case {
    layout: Layout,
    buffers: Vec<Vec<u8>>,
    expected: Vec<[u8; 3]>,
}

/// Odd widths and heights, and strides that exceed the pixels (the padding is 255).
fn cases() -> Vec<Case> {
    let grey = |y: u8| Chroma::new(128, 128).with_luma(y);
    vec![
        Case {
            layout: Layout::new(PixelFormat::Yuyv, 3, 2, 10),
            buffers: vec![vec![
                50, 128, 60, 128, 70, 128, 255, 128, 255, 255, // row 1
                80, 128, 90, 128, 100, 128, 255, 128, // the last row is not padded
            ]],
            expected: [50, 60, 70, 80, 90, 100].map(grey).to_vec(),
        },
        Case {
            layout: Layout::new(PixelFormat::Uyvy, 3, 1, 8),
            buffers: vec![vec![90, 100, 150, 110, 128, 120, 128, 255]],
            expected: vec![Chroma::new(90, 150).with_luma(100), Chroma::new(90, 150).with_luma(110), grey(120)],
        },
        Case {
            layout: Layout::new(PixelFormat::Nv12, 3, 3, 5),
            buffers: vec![vec![
                50, 60, 70, 255, 255, // luma
                80, 90, 100, 255, 255, //
                110, 120, 130, 255, 255, //
                90, 150, 128, 128, 255, // chroma of rows 1 and 2
                128, 128, 90, 150, // chroma of row 3
            ]],
            expected: vec![
                Chroma::new(90, 150).with_luma(50),
                Chroma::new(90, 150).with_luma(60),
                grey(70),
                Chroma::new(90, 150).with_luma(80),
                Chroma::new(90, 150).with_luma(90),
                grey(100),
                grey(110),
                grey(120),
                Chroma::new(90, 150).with_luma(130),
            ],
        },
        Case {
            layout: Layout::new(PixelFormat::Grey, 3, 2, 4),
            buffers: vec![vec![1, 2, 3, 255, 4, 5, 6]],
            expected: (1..=6).map(|y| [y; 3]).collect(),
        },
        Case {
            layout: Layout::new(PixelFormat::Y16, 1, 2, 4),
            buffers: vec![vec![0x34, 0x12, 255, 255, 0x78, 0x56]],
            expected: vec![[0x12; 3], [0x56; 3]],
        },
        Case {
            layout: Layout::new(PixelFormat::Rgb3, 1, 2, 4),
            buffers: vec![vec![1, 2, 3, 255, 4, 5, 6]],
            expected: vec![[1, 2, 3], [4, 5, 6]],
        },
        Case {
            layout: Layout::new(PixelFormat::Bgr3, 1, 2, 4),
            buffers: vec![vec![1, 2, 3, 255, 4, 5, 6]],
            expected: vec![[3, 2, 1], [6, 5, 4]],
        },
        Case {
            layout: Layout::new(PixelFormat::Nv16, 3, 2, 4),
            buffers: vec![vec![
                50, 60, 70, 255, 80, 90, 100, 255, // luma
                90, 150, 128, 128, 128, 128, 90, 150, // chroma
            ]],
            expected: vec![
                Chroma::new(90, 150).with_luma(50),
                Chroma::new(90, 150).with_luma(60),
                grey(70),
                grey(80),
                grey(90),
                Chroma::new(90, 150).with_luma(100),
            ],
        },
        Case {
            layout: Layout::new(PixelFormat::Yu12, 3, 3, 6),
            buffers: vec![vec![
                50, 60, 70, 255, 255, 255, // luma
                80, 90, 100, 255, 255, 255, //
                110, 120, 130, 255, 255, 255, //
                90, 128, 255, 128, 90, 255, // Cb of rows 1 and 2, of row 3
                150, 128, 255, 128, 150, // Cr, the same
            ]],
            expected: four_by_two(),
        },
        Case {
            layout: Layout { format: PixelFormat::Ym12, width: 3, height: 3, strides: [4, 2, 3] },
            buffers: vec![
                vec![50, 60, 70, 255, 80, 90, 100, 255, 110, 120, 130],
                vec![90, 128, 128, 90],
                vec![150, 128, 255, 128, 150],
            ],
            expected: four_by_two(),
        },
        Case {
            layout: Layout { format: PixelFormat::Nm12, width: 3, height: 3, strides: [3, 5, 0] },
            buffers: vec![
                vec![50, 60, 70, 80, 90, 100, 110, 120, 130],
                vec![90, 150, 128, 128, 255, 128, 128, 90, 150],
            ],
            expected: four_by_two(),
        },
        Case {
            layout: Layout { format: PixelFormat::Nm16, width: 1, height: 2, strides: [1, 2, 0] },
            buffers: vec![vec![50, 60], vec![90, 150, 128, 128]],
            expected: vec![Chroma::new(90, 150).with_luma(50), grey(60)],
        },
        Case {
            layout: Layout { format: PixelFormat::Ym16, width: 3, height: 2, strides: [3, 2, 4] },
            buffers: vec![vec![50, 60, 70, 80, 90, 100], vec![90, 128, 128, 90], vec![150, 128, 255, 255, 128, 150]],
            expected: vec![
                Chroma::new(90, 150).with_luma(50),
                Chroma::new(90, 150).with_luma(60),
                grey(70),
                grey(80),
                grey(90),
                Chroma::new(90, 150).with_luma(100),
            ],
        },
        Case {
            layout: Layout::new(PixelFormat::Rggb, 3, 3, 4),
            buffers: vec![vec![10, 20, 30, 255, 40, 50, 60, 255, 70, 80, 90]],
            expected: vec![
                [10, 30, 50],
                [20, 20, 50],
                [30, 40, 50],
                [40, 40, 50],
                [50, 50, 50],
                [60, 60, 50],
                [70, 60, 50],
                [80, 80, 50],
                [90, 70, 50],
            ],
        },
    ]
}

/// Three by three pixels of which the colour of the first four and of the last is not grey.
fn four_by_two() -> Vec<[u8; 3]> {
    let chroma = |x: u32, y: u32| if (x < 2) == (y < 2) { Chroma::new(90, 150) } else { Chroma::new(128, 128) };
    (0..9).map(|i| chroma(i % 3, i / 3).with_luma(50 + 10 * i as u8)).collect()
}

fn slices(buffers: &[Vec<u8>]) -> Vec<&[u8]> {
    buffers.iter().map(Vec::as_slice).collect()
}

#[test]
fn odd_sizes_and_padded_rows_are_converted() {
    for Case { layout, buffers, expected } in cases() {
        let image = layout.to_rgb(&slices(&buffers)).unwrap();
        assert_eq!(image.dimensions(), (layout.width, layout.height), "{layout}");
        assert_eq!(pixels(&image), expected, "{layout}");
    }
}

#[test]
fn runs_of_pixels_become_what_each_pixel_alone_becomes() {
    let mut state = 1u32;
    let mut noise = |length: usize| {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect::<Vec<_>>()
    };
    for width in (1..=70usize).chain([639, 640]) {
        let (height, pairs) = (3, width.div_ceil(2));
        let (luma, cb, cr) = (noise(width * height), noise(pairs * height), noise(pairs * height));
        // Row by row of luma, and of chroma for each of its rows.
        let expected = |lines: usize| -> Vec<[u8; 3]> {
            let at = |y: usize, x: usize| {
                let chroma = y / lines * pairs + x / 2;
                Chroma::new(cb[chroma], cr[chroma]).with_luma(luma[y * width + x])
            };
            (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
        };
        let packed = |order: fn([u8; 4]) -> [u8; 4]| -> Vec<u8> {
            let pair = |(row, pair): (usize, usize)| {
                let luma = |x: usize| if x < width { luma[row * width + x] } else { 0 };
                order([luma(2 * pair), luma(2 * pair + 1), cb[row * pairs + pair], cr[row * pairs + pair]])
            };
            (0..height).flat_map(|row| (0..pairs).map(move |pair| (row, pair))).flat_map(pair).collect()
        };
        let chroma_rows = 2 * pairs;
        let joined = cb.iter().zip(&cr).flat_map(|(cb, cr)| [*cb, *cr]).collect::<Vec<_>>();
        let cases = [
            (PixelFormat::Yuyv, packed(|[y0, y1, cb, cr]| [y0, cb, y1, cr]), 1),
            (PixelFormat::Uyvy, packed(|[y0, y1, cb, cr]| [cb, y0, cr, y1]), 1),
            (PixelFormat::Nv16, [&luma[..], &joined].concat(), 1),
            (PixelFormat::Nv12, [&luma[..], &joined[..2 * chroma_rows]].concat(), 2),
            (PixelFormat::Yu12, [&luma[..], &cb[..2 * pairs], &cr[..2 * pairs]].concat(), 2),
        ];
        for (format, bytes, lines) in cases {
            let layout = Layout::unpadded(format, width as u32, height as u32);
            assert_eq!(pixels(&layout.to_rgb(&[&bytes]).unwrap()), expected(lines), "{layout}");
        }
    }
}

#[test]
fn a_buffer_that_is_one_byte_short_is_refused() {
    for Case { layout, mut buffers, .. } in cases() {
        for index in 0..buffers.len() {
            let last = buffers[index].pop().unwrap();
            let error = layout.to_rgb(&slices(&buffers)).unwrap_err();
            assert!(error.to_string().contains(&format!("{} came", buffers[index].len())), "{error}");
            buffers[index].push(last);
        }
        assert!(layout.to_rgb(&vec![&[][..]; buffers.len()]).is_err(), "{layout}");
        assert!(layout.to_rgb(&[]).is_err(), "{layout}");
    }
}

#[test]
fn a_stride_that_does_not_hold_a_row_is_refused() {
    for format in PixelFormat::ALL.into_iter().filter(|format| *format != PixelFormat::Mjpg) {
        let whole = Layout::unpadded(format, 5, 2);
        for index in 0..format.planes(5, 2).len() {
            let mut layout = whole;
            layout.strides[index] -= 1;
            let error = layout.to_rgb(&vec![&[0; 1000][..]; format.buffers()]).unwrap_err();
            assert!(error.to_string().contains("stride"), "{error}");
        }
        assert!(whole.to_rgb(&vec![&[0; 1000][..]; format.buffers()]).is_ok(), "{whole}");
    }
}

#[test]
fn a_picture_takes_as_many_bytes_as_its_planes() {
    let cases = [
        (PixelFormat::Rgb3, Some(45)),
        (PixelFormat::Yuyv, Some(36)),
        (PixelFormat::Nv12, Some(15 + 12)),
        (PixelFormat::Yu12, Some(15 + 6 + 6)),
        (PixelFormat::Ym16, Some(15 + 9 + 9)),
        (PixelFormat::Y16, Some(30)),
        (PixelFormat::Mjpg, None),
    ];
    for (format, bytes) in cases {
        assert_eq!(Layout::unpadded(format, 5, 3).bytes(), bytes, "{format}");
    }
    assert_eq!(Layout::new(PixelFormat::Yu12, 5, 3, 8).bytes(), Some(24 + 8 + 8));
}

const MOSAICS: [(PixelFormat, [&str; 2]); 4] = [
    (PixelFormat::Ba81, ["BG", "GR"]),
    (PixelFormat::Gbrg, ["GB", "RG"]),
    (PixelFormat::Grbg, ["GR", "BG"]),
    (PixelFormat::Rggb, ["RG", "GB"]),
];

/// What a sensor with the filter `rows` sees of `picture`.
fn mosaic(picture: &RgbImage, rows: [&str; 2]) -> Vec<u8> {
    let seen = |(x, y, pixel): (u32, u32, &image::Rgb<u8>)| match rows[y as usize % 2].as_bytes()[x as usize % 2] {
        b'R' => pixel[0],
        b'G' => pixel[1],
        _ => pixel[2],
    };
    picture.enumerate_pixels().map(seen).collect()
}

#[test]
fn a_mosaic_of_even_colour_and_of_even_slopes_comes_out_as_it_was() {
    let flat = RgbImage::from_pixel(5, 4, image::Rgb([200, 100, 30]));
    // Between neighbours in one colour lie two pixels, or two in each direction: means are exact.
    let slopes = RgbImage::from_fn(9, 8, |x, y| image::Rgb([x as u8 * 9 + 20, 200 - y as u8 * 7, (x + y) as u8 * 5]));
    for (format, rows) in MOSAICS {
        let layout = |picture: &RgbImage| Layout::unpadded(format, picture.width(), picture.height());
        assert_eq!(layout(&flat).to_rgb(&[&mosaic(&flat, rows)]).unwrap(), flat, "{format}");
        let seen = layout(&slopes).to_rgb(&[&mosaic(&slopes, rows)]).unwrap();
        for (x, y, pixel) in slopes.enumerate_pixels().filter(|(x, y, _)| (1..8).contains(x) && (1..7).contains(y)) {
            assert_eq!(seen.get_pixel(x, y), pixel, "{format} at {x}, {y}");
        }
        assert!(Layout::unpadded(format, 1, 8).to_rgb(&[&[7; 8]]).is_err(), "{format}: one column lacks a colour");
    }
}

/// A picture with structure, as JPEG: `(decoded by the image crate, bytes)`.
fn jpeg() -> (RgbImage, Vec<u8>) {
    let picture = RgbImage::from_fn(35, 21, |x, y| image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8]));
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
    (image::load_from_memory(&bytes).unwrap().into_rgb8(), bytes)
}

/// The picture without its segments of kind `marker`.
fn without_segments(bytes: &[u8], marker: u8) -> Vec<u8> {
    let (mut kept, mut rest) = (SOI.to_vec(), &bytes[2..]);
    while rest[1] != 0xda {
        let length = 2 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[1] != marker {
            kept.extend(&rest[..length]);
        }
        rest = &rest[length..];
    }
    [&kept, rest].concat()
}

#[test]
fn jpeg_pictures_are_decoded_with_and_without_their_huffman_tables() {
    let (expected, bytes) = jpeg();
    let layout = Layout::new(PixelFormat::Mjpg, 35, 21, 0);
    assert_eq!(layout.to_rgb(&[&bytes]).unwrap(), expected);

    let bare = without_segments(&bytes, 0xc4);
    assert!(bare.len() + 400 < bytes.len(), "the tables take 420 bytes");
    assert!(image::load_from_memory(&bare).is_err(), "a plain JPEG decoder needs the tables");
    assert_eq!(layout.to_rgb(&[&bare]).unwrap(), expected);

    // UVC cameras pad to a multiple of the packet size.
    assert_eq!(layout.to_rgb(&[&[bytes, vec![0; 100]].concat()]).unwrap(), expected);
}

#[test]
fn a_jpeg_picture_that_is_cut_off_corrupt_or_of_another_size_is_refused() {
    let (picture, bytes) = jpeg();
    let right = Layout::new(PixelFormat::Mjpg, 35, 21, 0);
    for cut in 0..bytes.len() {
        assert!(right.to_rgb(&[&bytes[..cut]]).is_err(), "{cut} of {} bytes", bytes.len());
    }
    // A thumbnail in an Exif segment has an end of its own.
    let exif = [b"Exif\0\0".as_slice(), &bytes].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let with_thumbnail = [&SOI, [0xff, 0xe1].as_slice(), &length, &exif, &bytes[2..]].concat();
    assert_eq!(right.to_rgb(&[&with_thumbnail]).unwrap(), picture);
    for cut in 0..with_thumbnail.len() {
        assert!(right.to_rgb(&[&with_thumbnail[..cut]]).is_err(), "{cut} of {} bytes", with_thumbnail.len());
    }
    let error = Layout::new(PixelFormat::Mjpg, 64, 48, 0).to_rgb(&[&bytes]).unwrap_err();
    assert!(error.to_string().contains("35x21"), "{error}");
    // Flipped header bytes: an error or a picture, never a panic.
    for at in 2..bytes.len().min(700) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0xff;
        let _ = right.to_rgb(&[&flipped]);
    }
}

#[test]
fn formats_are_named_by_their_codes() {
    for format in PixelFormat::ALL {
        assert_eq!(format.to_string().parse::<PixelFormat>().unwrap(), format);
        assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
    }
    assert_eq!("mjpg".parse::<PixelFormat>().unwrap(), PixelFormat::Mjpg);
    let error = "H264".parse::<PixelFormat>().unwrap_err();
    assert!(error.to_string().contains("YUYV"), "{error}");
}
