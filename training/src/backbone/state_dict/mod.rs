//! Weights as PyTorch and its successors keep them: a dictionary from names to tensors.
//!
//! Read are what `torch.save(model.state_dict(), ...)` writes, today and before 1.6, safetensors, and the zip archive (a Python wheel)
//! that holds one of these. No code in a file is run.

mod archive;
mod floats;
mod pickle;
#[cfg(test)]
pub(super) mod tests;
mod torch;

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use archive::Archive;

/// Tensors by their names.
pub(super) type StateDict = BTreeMap<String, Tensor>;

/// A tensor of floats.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub shape: Vec<usize>,
    /// As many as `shape` says, the last axis first to run.
    pub values: Vec<f32>,
}

/// What is left out of names: `torch.nn.DataParallel` puts it before all of them.
const WRAPPER: &str = "module.";

/// How the names of files with weights end.
const ENDINGS: [&str; 4] = [".pth", ".pt", ".bin", ".safetensors"];

/// The tensors in `bytes`, whatever kind of file they are.
///
/// # Errors
///
/// They are none of the kinds, cut off or damaged; the reason is for a person.
pub(super) fn parse(bytes: &[u8]) -> Result<StateDict, String> {
    let read = if bytes.starts_with(Archive::START) { from_archive(bytes)? } else { plain(bytes)? };
    let read = read.into_iter().map(|(name, tensor)| match name.strip_prefix(WRAPPER) {
        Some(inner) => (inner.to_owned(), tensor),
        None => (name, tensor),
    });
    Ok(read.collect())
}

/// A file of PyTorch, or what a wheel holds.
fn from_archive(bytes: &[u8]) -> Result<StateDict, String> {
    let archive = Archive::open(bytes)?;
    if let Some(data) = archive.names().find(|name| name.ends_with("/data.pkl") || *name == "data.pkl") {
        return torch::read_archive(&archive, data);
    }
    let weights = archive.names().filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)));
    match weights.collect::<Vec<_>>().as_slice() {
        [only] => {
            let inner = archive.read(only)?;
            match inner.starts_with(Archive::START) {
                false => plain(&inner),
                true => {
                    let archive = Archive::open(&inner)?;
                    let data = archive.names().find(|name| name.ends_with("/data.pkl"));
                    let data = data.ok_or("its archive holds another one without weights")?;
                    torch::read_archive(&archive, data)
                }
            }
        }
        [] => Err(format!("the archive holds no weights (a name that ends in {})", ENDINGS.join(", "))),
        several => Err(format!(
            "the archive holds several files of weights: unpack it, and name one of {}",
            several.join(", ")
        )),
    }
}

fn plain(bytes: &[u8]) -> Result<StateDict, String> {
    if bytes.starts_with(torch::LEGACY) {
        return torch::read_legacy(bytes);
    }
    // Eight bytes of length, then JSON.
    if bytes.get(8) == Some(&b'{') {
        return from_safetensors(bytes);
    }
    Err("it is neither a PyTorch state dict (.pth) nor safetensors nor a wheel with one of them".into())
}

fn from_safetensors(bytes: &[u8]) -> Result<StateDict, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("it is damaged or was cut off: {error}"))?;
    let read = |(name, view): (String, safetensors::tensor::TensorView)| {
        let kind = floats::Kind::of(&view.dtype().to_string())?;
        Some((name, Tensor { shape: view.shape().to_vec(), values: kind.values(view.data()) }))
    };
    Ok(file.tensors().into_iter().filter_map(read).collect())
}
