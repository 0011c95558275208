//! Pages that need nothing else: HTML with its style, its charts and its pictures inside, which prints well.

pub mod chart;
pub mod plot;

use std::fmt::Write;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage, imageops};

/// The style of a page that begins with [`head`].
const STYLE: &str = include_str!("page.css");

/// What the head of each page says of the program, so that it knows its own: a page of somebody else is not written over.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"hgad\">";

/// How a page begins, up to the end of its header. `title` is what the window is called; all three are HTML already.
pub fn head(title: &str, heading: &str, below: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{GENERATOR}<title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <header><h1>{heading}</h1><p>{below}</p></header>"
    )
}

/// Adds a section to a page.
pub fn section(html: &mut String, title: &str, content: &str) {
    // Writing into a text does not fail.
    let _ = write!(html, "<section><h2>{title}</h2>{content}</section>");
}

/// Text as HTML shows it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The `src` of a photograph (JPEG), not wider than `width` pixels. An encoder that writes to memory has nothing to fail on; if
/// it did, the picture would be missing.
pub fn photograph(picture: &RgbImage, width: u32) -> String {
    let width = picture.width().min(width);
    let height = (picture.height() * width / picture.width().max(1)).max(1);
    let small = imageops::resize(picture, width, height, imageops::FilterType::Triangle);
    let mut bytes = Vec::new();
    match JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&small) {
        Ok(()) => format!("data:image/jpeg;base64,{}", BASE64.encode(bytes)),
        Err(_) => String::new(),
    }
}

/// The `src` of a drawing (PNG), pixel for pixel. As [`photograph`] about failures.
pub fn drawing(picture: &RgbImage) -> String {
    let mut bytes = Cursor::new(Vec::new());
    match picture.write_to(&mut bytes, ImageFormat::Png) {
        Ok(()) => format!("data:image/png;base64,{}", BASE64.encode(bytes.into_inner())),
        Err(_) => String::new(),
    }
}
