//! A part of the camera's picture: what one lane of the belt is seen in.

use std::fmt;

use image::RgbImage;
use image::imageops::crop_imm;

use super::Frame;

/// A rectangle of the camera's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Region {
    /// Its left upper corner and its size in pixels.
    Pixels {
        /// From the picture's left edge.
        x: u32,
        /// From the picture's upper edge.
        y: u32,
        /// Columns, at least one.
        width: u32,
        /// Rows, at least one.
        height: u32,
    },
    /// The same as shares of the picture's width and height, 0..=1.
    Shares {
        /// From the picture's left edge.
        x: f64,
        /// From the picture's upper edge.
        y: f64,
        /// Of the picture's width.
        width: f64,
        /// Of the picture's height.
        height: f64,
    },
}

impl Region {
    /// Left, upper, right and lower edge, in pixels of a picture of that width and height. Regions that share an edge as shares
    /// share it as pixels too.
    ///
    /// # Errors
    ///
    /// It reaches beyond the picture, or no pixel is in it; the text says how.
    pub fn edges(&self, (picture_width, picture_height): (u32, u32)) -> Result<[u32; 4], String> {
        let (horizontal, vertical) = match *self {
            Region::Pixels { x, y, width, height } => ((x, x.saturating_add(width)), (y, y.saturating_add(height))),
            Region::Shares { x, y, width, height } => {
                let at = |share: f64, pixels: u32| (share * f64::from(pixels)).round() as u32;
                let horizontal = (at(x, picture_width), at(x + width, picture_width));
                (horizontal, (at(y, picture_height), at(y + height, picture_height)))
            }
        };
        let is_within = horizontal.1 <= picture_width && vertical.1 <= picture_height;
        let is_some = horizontal.0 < horizontal.1 && vertical.0 < vertical.1;
        match is_within && is_some {
            true => Ok([horizontal.0, vertical.0, horizontal.1, vertical.1]),
            false => {
                Err(format!("the region {self} is not within the picture, {picture_width}x{picture_height} pixels"))
            }
        }
    }

    /// Pixels per row and rows of the region of such a picture.
    ///
    /// # Errors
    ///
    /// As [`Region::edges`].
    pub fn size(&self, picture: (u32, u32)) -> Result<(u32, u32), String> {
        self.edges(picture).map(|[left, upper, right, lower]| (right - left, lower - upper))
    }

    /// The region of the picture, as pixels of its own.
    ///
    /// # Errors
    ///
    /// As [`Region::edges`].
    pub fn crop(&self, image: &RgbImage) -> Result<RgbImage, String> {
        let [left, upper, right, lower] = self.edges(image.dimensions())?;
        Ok(crop_imm(image, left, upper, right - left, lower - upper).to_image())
    }

    /// The frame as a lane sees it: what came as a file is none any more.
    ///
    /// # Errors
    ///
    /// As [`Region::edges`].
    pub fn of(&self, frame: &Frame) -> Result<Frame, String> {
        let image = self.crop(&frame.image)?;
        let (origin, product) = (frame.origin.clone(), frame.product.clone());
        let Frame { number, captured, stamp, .. } = *frame;
        Ok(Frame { number, captured, stamp, origin, product, image, original: None })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Region::Pixels { x, y, width, height } => write!(f, "{width}x{height} at {x}, {y}"),
            Region::Shares { x, y, width, height } => {
                let percent = |share: &f64| share * 100.0;
                write!(f, "{:.1} % x {:.1} % ", percent(width), percent(height))?;
                write!(f, "at {:.1} %, {:.1} %", percent(x), percent(y))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_region_has_the_pictures_pixels() {
        let image = RgbImage::from_fn(10, 6, |x, y| Rgb([x as u8, y as u8, 0]));
        let region = Region::Pixels { x: 4, y: 1, width: 3, height: 2 }.crop(&image).unwrap();
        assert_eq!(region.dimensions(), (3, 2));
        assert_eq!((region.get_pixel(0, 0), region.get_pixel(2, 1)), (&Rgb([4, 1, 0]), &Rgb([6, 2, 0])));
    }

    #[test]
    fn shares_of_neighbours_leave_no_column_out_and_count_none_twice() {
        let thirds = [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|x| Region::Shares { x, y: 0.0, width: 1.0 / 3.0, height: 1.0 });
        for picture_width in [640, 641, 100, 7] {
            let edges = thirds.map(|third| third.edges((picture_width, 10)).unwrap());
            assert_eq!((edges[0][0], edges[2][2]), (0, picture_width));
            assert_eq!((edges[0][2], edges[1][2]), (edges[1][0], edges[2][0]), "{picture_width}");
        }
    }

    #[test]
    fn what_is_not_in_the_picture_is_an_error() {
        let region = Region::Pixels { x: 600, y: 0, width: 100, height: 10 };
        let why = region.edges((640, 480)).unwrap_err();
        assert_eq!(why, "the region 100x10 at 600, 0 is not within the picture, 640x480 pixels");
        let thin = Region::Shares { x: 0.0, y: 0.0, width: 0.001, height: 1.0 };
        assert!(thin.edges((100, 100)).is_err(), "no column is in it");
    }
}
