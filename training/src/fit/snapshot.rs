//! What was learned by some step, as a file: `weights-STEP.safetensors` in a run's history.

use std::collections::HashMap;
use std::path::Path;

use hgad::bundle::LevelCenters;
use hgad::draft;
use hgad::{Error, Result};
use ndarray::{Array, ArrayD, Dimension, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::flow::{BlockWeights, LevelWeights};

/// The format; a change of content changes it.
const FORMAT: u32 = 1;
/// The entry that says what the file is.
const ABOUT: &str = "hgad_weights";

/// What the file says of itself.
#[derive(Serialize, Deserialize)]
struct Told {
    format: u32,
    levels: Vec<LevelTold>,
}

/// What of a level is no tensor.
#[derive(Serialize, Deserialize)]
struct LevelTold {
    tap: String,
    grid: (usize, usize),
    clamp: f32,
    sides: Vec<usize>,
}

/// Writes the levels to `path`, replacing what is there in one step.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(levels: &[LevelWeights], path: &Path) -> Result<()> {
    replace(path, &serialize(levels)?)
}

/// Puts `bytes` into the place of a file of a run's history, in one step.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::device(format!("{} of the run's history cannot be written", path.display()))
            .because(error)
            .advise("see that there is room on the disk and that you may write there")
    };
    draft::replace(path, bytes).map_err(failed)
}

fn serialize(levels: &[LevelWeights]) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for (l, level) in levels.iter().enumerate() {
        let mut add = |name: &str, shape: &[usize], values: &mut dyn Iterator<Item = &f32>| {
            let bytes = values.flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
            tensors.push((format!("{l}.{name}"), shape.to_vec(), bytes));
        };
        add("mean", level.mean.shape(), &mut level.mean.iter());
        add("std", level.std.shape(), &mut level.std.iter());
        let LevelCenters { mu, dmu, psi, psi_in } = &level.centers;
        add("mu", mu.shape(), &mut mu.iter());
        add("dmu", dmu.shape(), &mut dmu.iter());
        add("psi", psi.shape(), &mut psi.iter());
        add("psi_in", psi_in.shape(), &mut psi_in.iter());
        for (k, BlockWeights { side: _, w1, b1, w2, b2, scale, offset, mix }) in level.blocks.iter().enumerate() {
            let matrices = [("w1", w1), ("w2", w2), ("mix", mix)];
            matrices.into_iter().for_each(|(name, m)| add(&format!("{k}.{name}"), m.shape(), &mut m.iter()));
            let vectors = [("b1", b1), ("b2", b2), ("scale", scale), ("offset", offset)];
            vectors.into_iter().for_each(|(name, v)| add(&format!("{k}.{name}"), v.shape(), &mut v.iter()));
        }
    }
    let told = Told {
        format: FORMAT,
        levels: levels
            .iter()
            .map(|level| LevelTold {
                tap: level.tap.clone(),
                grid: level.grid,
                clamp: level.clamp,
                sides: level.blocks.iter().map(|block| block.side).collect(),
            })
            .collect(),
    };
    let broken = "the weights cannot be put together";
    let told = serde_json::to_string(&told).map_err(|error| Error::device(broken).because(error))?;
    // One entry: the order of several is not fixed, and a resumed run's file is to be the same.
    let about = HashMap::from([(ABOUT.to_owned(), told)]);
    let views = tensors.iter().map(|(name, shape, bytes)| {
        Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| Error::device(broken).because(e))?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, Some(about)).map_err(|error| Error::device(broken).because(error))
}

/// Reads what [`write`] wrote.
///
/// # Errors
///
/// The file cannot be read, or is not of this program's format.
pub fn read(path: &Path) -> Result<Vec<LevelWeights>> {
    let unusable = || Error::device(format!("{} of the run's history cannot be read", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unusable().because(error))?;
    parse(&bytes).map_err(|why| unusable().because(why))
}

fn parse(bytes: &[u8]) -> Result<Vec<LevelWeights>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let about = metadata.metadata().as_ref().ok_or("it does not say what it is")?;
    let told = about.get(ABOUT).ok_or("it holds no weights of a history")?;
    let told: Told = serde_json::from_str(told).map_err(|error| error.to_string())?;
    match told.format {
        FORMAT => told.levels.into_iter().enumerate().map(|(l, told)| level(&tensors, l, told)).collect(),
        other => Err(format!("its format {other} is unknown to this program, which reads {FORMAT}")),
    }
}

fn level(tensors: &SafeTensors, l: usize, told: LevelTold) -> Result<LevelWeights, String> {
    let of = |name: &str| format!("{l}.{name}");
    let block = |(k, side): (usize, usize)| {
        let of = |name: &str| format!("{l}.{k}.{name}");
        Ok(BlockWeights {
            side,
            w1: array(tensors, &of("w1"))?,
            b1: array(tensors, &of("b1"))?,
            w2: array(tensors, &of("w2"))?,
            b2: array(tensors, &of("b2"))?,
            scale: array(tensors, &of("scale"))?,
            offset: array(tensors, &of("offset"))?,
            mix: array(tensors, &of("mix"))?,
        })
    };
    Ok(LevelWeights {
        mean: array(tensors, &of("mean"))?,
        std: array(tensors, &of("std"))?,
        blocks: told.sides.into_iter().enumerate().map(block).collect::<Result<_, String>>()?,
        centers: LevelCenters {
            mu: array(tensors, &of("mu"))?,
            dmu: array(tensors, &of("dmu"))?,
            psi: array(tensors, &of("psi"))?,
            psi_in: array(tensors, &of("psi_in"))?,
        },
        tap: told.tap,
        grid: told.grid,
        clamp: told.clamp,
    })
}

fn array<D: Dimension>(tensors: &SafeTensors, name: &str) -> Result<Array<f32, D>, String> {
    let tensor = tensors.tensor(name).map_err(|error| format!("tensor {name}: {error}"))?;
    let wrong = || format!("tensor {name} is {:?} {:?}", tensor.dtype(), tensor.shape());
    if tensor.dtype() != Dtype::F32 {
        return Err(wrong());
    }
    let (values, _) = tensor.data().as_chunks();
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let values = ArrayD::from_shape_vec(IxDyn(tensor.shape()), values).map_err(|error| error.to_string())?;
    values.into_dimensionality().map_err(|_| wrong())
}
