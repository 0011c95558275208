//! PyTorch's own files: a pickle that says which tensors there are, and the bytes of their storages.
//!
//! Until version 1.5 both lay one after the other in one file; since then each is a member of a zip archive.

use std::collections::HashMap;

use super::archive::Archive;
use super::pickle::{Id, Pickle, Value};
use super::{StateDict, Tensor, floats};

/// How the old files begin: a pickle of the number 0x1950a86a20f9469cfc6c.
pub const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Under which keys training programs put the weights among other things.
const WRAPPED: [&str; 4] = ["state_dict", "model_state_dict", "model", "state_dict_ema"];

/// A tensor as a pickle tells of it.
struct Told<'p> {
    name: &'p str,
    storage: &'p str,
    /// As `half`, `float`, ...
    kind: &'p str,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The weights of a file of before version 1.6.
pub fn read_legacy(bytes: &[u8]) -> Result<StateDict, String> {
    let mut rest = bytes;
    // The magic number, the protocol's number and the writer's machine: all that ever wrote such files are alike to us.
    for _ in 0..3 {
        Pickle::read(&mut rest)?;
    }
    let told = Pickle::read(&mut rest)?;
    let keys = Pickle::read(&mut rest)?;
    let Value::List(keys_in_order) = keys.top() else { return Err("it lists no storages".into()) };
    let tensors = tensors(&told)?;
    let kinds = tensors.iter().map(|tensor| (tensor.storage, tensor.kind)).collect::<HashMap<_, _>>();
    let mut storages = HashMap::new();
    for key in keys_in_order {
        let key = keys.text(*key).ok_or("a storage in it has no name")?;
        let (head, behind) = rest.split_at_checked(8).ok_or("it was cut off between its storages")?;
        let elements = head.try_into().map(u64::from_le_bytes).map_err(|_| "it has a storage without a size")?;
        let Some(size) = kinds.get(key).and_then(|kind| floats::size(kind)) else {
            return Err(format!("its storage {key} has elements of no known size"));
        };
        let length = usize::try_from(elements).ok().and_then(|elements| elements.checked_mul(size));
        let split = length.and_then(|length| behind.split_at_checked(length));
        let (storage, behind) = split.ok_or("it was cut off within its storages")?;
        storages.insert(key.to_owned(), storage);
        rest = behind;
    }
    gather(&tensors, |key| storages.get(key).map(|bytes| bytes.to_vec()).ok_or_else(|| absent(key)))
}

/// The weights of an archive whose pickle is the member `data`.
pub fn read_archive(archive: &Archive, data: &str) -> Result<StateDict, String> {
    let root = data.strip_suffix("data.pkl").unwrap_or_default();
    let order = format!("{root}byteorder");
    if archive.has(&order) && archive.read(&order)? != b"little" {
        return Err("its numbers have the highest byte first: save it on another machine".into());
    }
    let pickle = archive.read(data)?;
    let told = Pickle::read(&mut pickle.as_slice())?;
    gather(&tensors(&told)?, |key| archive.read(&format!("{root}data/{key}")))
}

fn absent(key: &str) -> String {
    format!("its storage {key} is not there")
}

/// The values of all tensors of floats. Others, as counts of batches, are no weights.
fn gather(tensors: &[Told], bytes_of: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<StateDict, String> {
    let mut read = StateDict::new();
    for tensor in tensors {
        let Some(kind) = floats::Kind::of(tensor.kind) else { continue };
        let storage = kind.values(&bytes_of(tensor.storage)?);
        let values = tensor
            .values(&storage)
            .ok_or_else(|| format!("tensor {} asks for more values than it has", tensor.name))?;
        read.insert(tensor.name.to_owned(), Tensor { shape: tensor.shape.clone(), values });
    }
    Ok(read)
}

impl Told<'_> {
    /// The tensor's values, the last axis first to run; `None` where its storage does not have them.
    fn values(&self, storage: &[f32]) -> Option<Vec<f32>> {
        let count = self.shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side))?;
        // A stride of 0 would repeat a value as often as a file likes.
        if count > storage.len() || self.shape.len() != self.strides.len() {
            return None;
        }
        let place = |mut number: usize| {
            let mut axes = self.shape.iter().zip(&self.strides).rev();
            axes.try_fold(self.offset, |place, (side, stride)| {
                let along = number % side;
                number /= side;
                place.checked_add(along.checked_mul(*stride)?)
            })
        };
        (0..count).map(|number| storage.get(place(number)?).copied()).collect()
    }
}

/// What a pickle tells of its tensors: it is their dictionary, or has it under one of the usual keys.
fn tensors(pickle: &Pickle) -> Result<Vec<Told<'_>>, String> {
    let inner = WRAPPED.iter().find_map(|key| pickle.under(pickle.top(), key));
    let Value::Dict(items) = inner.unwrap_or(pickle.top()) else {
        return Err("it is no state dict: save model.state_dict(), not the model itself".into());
    };
    let of_item = |(name, value): &(Id, Id)| Some((pickle.text(*name)?, tensor(pickle, *value)?));
    Ok(items.iter().filter_map(of_item).map(|(name, told)| Told { name, ..told }).collect())
}

/// The tensor that a call would have built.
fn tensor(pickle: &Pickle, id: Id) -> Option<Told<'_>> {
    let Value::Call(function, arguments) = pickle.get(id) else { return None };
    let Value::Global(function) = pickle.get(*function) else { return None };
    let arguments = pickle.list(*arguments)?;
    match function.as_str() {
        "torch._utils._rebuild_parameter" => built(pickle, *arguments.first()?),
        _ => built(pickle, id),
    }
}

fn built(pickle: &Pickle, id: Id) -> Option<Told<'_>> {
    let Value::Call(function, arguments) = pickle.get(id) else { return None };
    let &[storage, offset, shape, strides, ..] = pickle.list(*arguments)? else { return None };
    if !matches!(pickle.get(*function), Value::Global(name) if name == "torch._utils._rebuild_tensor_v2") {
        return None;
    }
    let Value::Outside(storage) = pickle.get(storage) else { return None };
    // ("storage", torch.FloatStorage, "key", "cpu", elements, ...)
    let &[_, kind, key, ..] = pickle.list(*storage)? else { return None };
    let Value::Global(kind) = pickle.get(kind) else { return None };
    let numbers = |id: Id| pickle.list(id)?.iter().map(|number| pickle.count(*number)).collect::<Option<Vec<_>>>();
    Some(Told {
        name: "",
        storage: pickle.text(key)?,
        kind: kind.strip_prefix("torch.")?.strip_suffix("Storage")?,
        offset: pickle.count(offset)?,
        shape: numbers(shape)?,
        strides: numbers(strides)?,
    })
}
