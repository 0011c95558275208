//! Checkpoints: all that a run needs to go on as if it had never stopped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hgad::digest::Digest;
use hgad::draft;
use hgad::{Error, Result};
use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The newest checkpoint format; a change of content changes it.
const FORMAT: &str = "1";

/// A run between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The digest of all that decides the run's result: features, labels and recipe.
    pub run: Digest,
    /// Steps taken.
    pub step: usize,
    /// The state of every level.
    pub levels: Vec<LevelState>,
}

/// One level between two steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LevelState {
    /// Every parameter by name.
    pub parameters: Vec<(String, ParameterState)>,
    /// Running means of the five losses, once there was a step.
    pub losses: Option<[f32; 5]>,
}

/// One parameter between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterState {
    /// Its value.
    pub value: Array2<f32>,
    /// Adam's mean of the gradients.
    pub first: Array2<f32>,
    /// Adam's mean of their squares.
    pub second: Array2<f32>,
    /// Adam's updates so far.
    pub updates: usize,
}

impl Checkpoint {
    /// Where the checkpoint of a run that writes the bundle `out` lies: beside it.
    ///
    /// # Errors
    ///
    /// `out` ends in no name (`..`).
    pub fn path_for(out: &Path) -> Result<PathBuf> {
        let mut name = out
            .file_name()
            .ok_or_else(|| {
                Error::usage(format!("the bundle {} has no name", out.display())).advise("name a new folder")
            })?
            .to_owned();
        name.push(".checkpoint");
        Ok(out.with_file_name(name))
    }

    /// The refusal to start anew where the checkpoint `path` stands.
    pub fn in_the_way(path: &Path) -> Error {
        Error::usage(format!("checkpoint {} of an earlier run stands here", path.display()))
            .advise("go on with --resume, or delete it to start anew")
    }

    /// Writes the checkpoint to `path`, replacing one that is there in one step.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::device(format!("checkpoint {} cannot be written", path.display()))
                .because(error)
                .advise("see that there is room on the disk and that you may write there; the checkpoint before it, if any, is untouched")
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        draft::replace(path, &self.serialize()?).map_err(failed)
    }

    /// Reads the checkpoint in `path`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not a checkpoint of this program's format.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let unusable = || {
            Error::device(format!("checkpoint {} cannot be used", path.display()))
                .advise("delete it and train from the start")
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable().because(error)),
        };
        Self::parse(&bytes).map(Some).map_err(|why| unusable().because(why))
    }

    fn serialize(&self) -> Result<Vec<u8>> {
        let mut tensors = Vec::new();
        for (l, level) in self.levels.iter().enumerate() {
            for (name, state) in &level.parameters {
                let matrices = [("value", &state.value), ("first", &state.first), ("second", &state.second)];
                for (part, matrix) in matrices {
                    let bytes = matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
                    tensors.push((format!("{l}.{name}.{part}"), Dtype::F32, matrix.shape().to_vec(), bytes));
                }
                let updates = (state.updates as u64).to_le_bytes().to_vec();
                tensors.push((format!("{l}.{name}.updates"), Dtype::U64, vec![1], updates));
            }
            let losses = level.losses.iter().flatten().flat_map(|loss| loss.to_le_bytes()).collect::<Vec<_>>();
            tensors.push((format!("{l}.losses"), Dtype::F32, vec![losses.len() / 4], losses));
        }
        let broken = |error| Error::device("the checkpoint cannot be put together").because(error);
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let about = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("run".to_owned(), self.run.to_string()),
            ("step".to_owned(), self.step.to_string()),
        ]);
        safetensors::serialize(views, Some(about)).map_err(broken)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let about = metadata.metadata().as_ref().ok_or("it does not say what it is")?;
        let entry = |key: &str| about.get(key).ok_or(format!("it has no entry '{key}'"));
        if entry("format")? != FORMAT {
            return Err(format!("its format {} is unknown to this program, which reads {FORMAT}", entry("format")?));
        }
        let mut names = tensors.names();
        names.sort();
        let mut levels = Vec::new();
        while let Ok(losses) = tensors.tensor(&format!("{}.losses", levels.len())) {
            let prefix = format!("{}.", levels.len());
            let parameters = names
                .iter()
                .filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix(".value"))
                .map(|name| Ok((name.to_owned(), parameter(&tensors, &format!("{prefix}{name}"))?)))
                .collect::<Result<_, String>>()?;
            let losses = floats(&losses).try_into().ok();
            levels.push(LevelState { parameters, losses });
        }
        Ok(Checkpoint {
            run: entry("run")?.parse()?,
            step: entry("step")?.parse().map_err(|_| "its step is not a number")?,
            levels,
        })
    }
}

fn parameter(tensors: &SafeTensors, name: &str) -> Result<ParameterState, String> {
    let part = |part: &str| {
        let name = format!("{name}.{part}");
        tensors.tensor(&name).map_err(|error| format!("tensor {name}: {error}"))
    };
    let matrix = |name: &str| {
        let tensor = part(name)?;
        match (tensor.dtype(), tensor.shape()) {
            (Dtype::F32, &[rows, columns]) => match floats(&tensor) {
                values if values.iter().all(|value| value.is_finite()) => {
                    Array2::from_shape_vec((rows, columns), values).map_err(|error| error.to_string())
                }
                _ => Err(format!("tensor {name} is not finite")),
            },
            (dtype, shape) => Err(format!("tensor {name} is {dtype:?} {shape:?}")),
        }
    };
    let updates =
        part("updates")?.data().try_into().map(u64::from_le_bytes).map_err(|_| "updates is not one number")?;
    Ok(ParameterState {
        value: matrix("value")?,
        first: matrix("first")?,
        second: matrix("second")?,
        updates: updates as usize,
    })
}

fn floats(tensor: &TensorView) -> Vec<f32> {
    tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let state = ParameterState {
            value: array![[1.0, -2.0]],
            first: array![[0.5, 0.25]],
            second: array![[1e-9, 3.0]],
            updates: 7,
        };
        let level = LevelState {
            parameters: vec![("block.0.b1".into(), state.clone()), ("mixture.mu".into(), state)],
            losses: Some([1.0, 2.0, 3.0, 4.0, 5.0]),
        };
        Checkpoint { run: Digest::of("run"), step: 12, levels: vec![level.clone(), level] }
    }

    #[test]
    fn a_checkpoint_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = Checkpoint::path_for(&folder.path().join("sub/model")).unwrap();
        assert!(path.ends_with("sub/model.checkpoint"));
        assert_eq!(Checkpoint::read(&path).unwrap(), None);
        checkpoint().write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), Some(checkpoint()));
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.checkpoint");
        let whole = checkpoint().serialize().unwrap();
        let replaced = |from: &[u8], to: &[u8]| {
            let at = whole.windows(from.len()).position(|bytes| bytes == from).unwrap();
            [&whole[..at], to, &whole[at + from.len()..]].concat()
        };
        let cases = [
            (whole[..whole.len() - 1].to_vec(), "file not fully covered"),
            (b"no checkpoint at all".to_vec(), "header too large"),
            (
                replaced(br#""format":"1""#, br#""format":"2""#),
                "its format 2 is unknown to this program, which reads 1",
            ),
            (replaced(br#""step":"12""#, br#""step":"1x""#), "its step is not a number"),
            (replaced(br#"0.mixture.mu.first"#, br#"0.mixture.mu.fist!"#), "tensor 0.mixture.mu.first"),
            (replaced(&(-2f32).to_le_bytes(), &f32::NAN.to_le_bytes()), "is not finite"),
        ];
        for (bytes, reason) in cases {
            std::fs::write(&path, bytes).unwrap();
            let report = Checkpoint::read(&path).unwrap_err().report();
            let because = report.split_once("because: ").unwrap().1;
            assert!(because.contains(reason), "'{because}' does not say: {reason}");
        }
    }
}
