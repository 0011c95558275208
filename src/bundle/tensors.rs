//! Named tensors in safetensors files, with errors that name the tensor.

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Result};

/// Tensors that are being read from one file.
pub(super) struct Reader<'a> {
    file: &'static str,
    tensors: SafeTensors<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'static str, bytes: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::device(format!("{file} is not a safetensors file")).because(error))?;
        Ok(Reader { file, tensors })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The f32 tensor `name`, which must have `shape`.
    pub(super) fn f32(&self, name: &str, shape: &[usize]) -> Result<ArrayD<f32>> {
        let bytes = self.bytes(name, Dtype::F32, shape)?;
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::device(format!("{}: tensor {name} holds values that are not finite", self.file)));
        }
        Ok(ArrayD::from_shape_vec(IxDyn(shape), values).expect("safetensors checked that the bytes fill the shape"))
    }

    /// The u8 tensor `name`, which must have `shape`.
    pub(super) fn u8(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        Ok(self.bytes(name, Dtype::U8, shape)?.to_vec())
    }

    /// The i8 tensor `name`, which must have `shape`.
    pub(super) fn i8(&self, name: &str, shape: &[usize]) -> Result<ArrayD<i8>> {
        let values = self.bytes(name, Dtype::I8, shape)?.iter().map(|byte| byte.cast_signed()).collect();
        Ok(ArrayD::from_shape_vec(IxDyn(shape), values).expect("safetensors checked that the bytes fill the shape"))
    }

    /// The shape of `name`, whatever it is.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.tensor(name)?.shape().to_vec())
    }

    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8]> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            return Err(Error::device(format!(
                "{}: tensor {name} is {:?} {:?}, expected {dtype:?} {shape:?}",
                self.file,
                tensor.dtype(),
                tensor.shape()
            )));
        }
        Ok(tensor.data())
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'a>> {
        self.tensors
            .tensor(name)
            .map_err(|error| Error::device(format!("{}: tensor {name} is missing", self.file)).because(error))
    }
}

/// Tensors that are being gathered for one file.
#[derive(Default)]
pub(super) struct Writer {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Writer {
    pub(super) fn f32<'v>(&mut self, name: String, shape: &[usize], values: impl IntoIterator<Item = &'v f32>) {
        let bytes = values.into_iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name, Dtype::F32, shape.to_vec(), bytes));
    }

    pub(super) fn i8<'v>(&mut self, name: String, shape: &[usize], values: impl IntoIterator<Item = &'v i8>) {
        let bytes = values.into_iter().map(|value| value.cast_unsigned()).collect();
        self.tensors.push((name, Dtype::I8, shape.to_vec(), bytes));
    }

    pub(super) fn u8(&mut self, name: String, shape: &[usize], values: &[u8]) {
        self.tensors.push((name, Dtype::U8, shape.to_vec(), values.to_vec()));
    }

    pub(super) fn serialize(&self) -> Result<Vec<u8>> {
        let failed = |error| Error::device("tensors do not fit their shapes").because(error);
        let views = self
            .tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?))
            })
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, None).map_err(failed)
    }
}
