//! `golden.safetensors`: frames that every board must reproduce before it may arm.

use image::RgbImage;
use ndarray::{Array2, Array3, Ix2, Ix3};

use super::manifest::Manifest;
use super::tensors::{Reader, Writer};
use crate::{Error, Result};

/// Normal frames with what the training host computed for them.
#[derive(Debug, Clone, Default)]
pub struct Golden {
    /// The frames; a bundle has at least one.
    pub frames: Vec<GoldenFrame>,
}

/// One golden frame.
#[derive(Debug, Clone)]
pub struct GoldenFrame {
    /// Its class, as an index into the manifest's classes.
    pub class: usize,
    /// The frame at the network's input size.
    pub image: RgbImage,
    /// Latents `(D, h, w)` of every level.
    pub z: Vec<Array3<f32>>,
    /// Log-determinants `(h, w)` of every level.
    pub logdet: Vec<Array2<f32>>,
    /// The frame's score under the bundle's own reference constants.
    pub score: f32,
}

impl Golden {
    pub(super) fn parse(manifest: &Manifest, bytes: Vec<u8>) -> Result<Self> {
        let reader = Reader::new("golden.safetensors", bytes)?;
        let (width, height) = (manifest.input.width, manifest.input.height);
        let mut frames = Vec::new();
        while reader.has(&format!("image.{}", frames.len())) {
            let k = frames.len();
            let pixels = reader.u8(&format!("image.{k}"), &[height, width, 3])?;
            let class = usize::from(reader.u8(&format!("class.{k}"), &[1])?[0]);
            if class >= manifest.classes.len() {
                return Err(Error::device(format!(
                    "golden.safetensors: frame {k} is of class {class}, which is unknown"
                )));
            }
            let mut frame = GoldenFrame {
                class,
                image: RgbImage::from_raw(width as u32, height as u32, pixels).expect("the reader checked the shape"),
                z: Vec::new(),
                logdet: Vec::new(),
                score: reader.f32(&format!("score.{k}"), &[1])?[[0]],
            };
            for (l, level) in manifest.levels.iter().enumerate() {
                let (d, h, w) = (level.channels, level.height, level.width);
                let z = reader.f32(&format!("z.{k}.{l}"), &[d, h, w])?;
                let logdet = reader.f32(&format!("logdet.{k}.{l}"), &[h, w])?;
                frame.z.push(z.into_dimensionality::<Ix3>().expect("the reader checked the shape"));
                frame.logdet.push(logdet.into_dimensionality::<Ix2>().expect("the reader checked the shape"));
            }
            frames.push(frame);
        }
        if frames.is_empty() {
            return Err(Error::device(
                "golden.safetensors holds no frame: nothing would prove that this board computes right",
            ));
        }
        Ok(Golden { frames })
    }

    pub(super) fn serialize(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        for (k, frame) in self.frames.iter().enumerate() {
            let class = u8::try_from(frame.class).map_err(|_| Error::usage("golden frames go up to class 255"))?;
            writer.u8(format!("class.{k}"), &[1], &[class]);
            writer.u8(format!("image.{k}"), &[manifest.input.height, manifest.input.width, 3], frame.image.as_raw());
            writer.f32(format!("score.{k}"), &[1], [&frame.score]);
            for (l, (z, logdet)) in frame.z.iter().zip(&frame.logdet).enumerate() {
                writer.f32(format!("z.{k}.{l}"), z.shape(), z);
                writer.f32(format!("logdet.{k}.{l}"), logdet.shape(), logdet);
            }
        }
        writer.serialize()
    }
}
