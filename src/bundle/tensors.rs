//! Named tensors in safetensors files, with errors that name the tensor.

use std::ops::Range;

use ndarray::{ArcArray, ArcArray1, ArrayD, Ix1, IxDyn, s};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};

use crate::{Error, Result};

/// Tensors that are being read from one file.
pub(super) struct Reader {
    file: &'static str,
    metadata: Metadata,
    /// Where the first tensor's bytes begin.
    data: usize,
    /// The whole file. Signed, as the largest tensors of all are: they stay where they were read, or there would be two of each.
    bytes: ArcArray1<i8>,
}

impl Reader {
    pub(super) fn new(file: &'static str, bytes: Vec<u8>) -> Result<Self> {
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| Error::device(format!("{file} is not a safetensors file")).because(error))?;
        // In the same memory: elements of one size are collected into the vector that they come from.
        let bytes = bytes.into_iter().map(u8::cast_signed).collect::<Vec<_>>().into();
        Ok(Reader { file, metadata, data: size_of::<u64>() + header, bytes })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The f32 tensor `name`, which must have `shape`.
    pub(super) fn f32(&self, name: &str, shape: &[usize]) -> Result<ArrayD<f32>> {
        let bytes = self.bytes(name, Dtype::F32, shape)?;
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]].map(i8::cast_unsigned)));
        let values = values.collect::<Vec<_>>();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::device(format!("{}: tensor {name} holds values that are not finite", self.file)));
        }
        Ok(ArrayD::from_shape_vec(IxDyn(shape), values).expect("safetensors checked that the bytes fill the shape"))
    }

    /// The u8 tensor `name`, which must have `shape`.
    pub(super) fn u8(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        Ok(self.bytes(name, Dtype::U8, shape)?.iter().map(|byte| byte.cast_unsigned()).collect())
    }

    /// The i8 tensor `name`, which must have `shape`. It keeps the file's bytes, all of them.
    pub(super) fn i8(&self, name: &str, shape: &[usize]) -> Result<ArcArray<i8, IxDyn>> {
        let place = self.place(name, Dtype::I8, shape)?;
        let values: ArcArray<i8, Ix1> = self.bytes.clone().slice_move(s![place]);
        Ok(values.into_shape_with_order(IxDyn(shape)).expect("safetensors checked that the bytes fill the shape"))
    }

    /// The shape of `name`, whatever it is.
    pub(super) fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.tensor(name)?.shape)
    }

    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&[i8]> {
        let place = self.place(name, dtype, shape)?;
        Ok(&self.bytes.as_slice().expect("the file is one piece")[place])
    }

    /// Where the tensor's bytes are in the file.
    fn place(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>> {
        let tensor = self.tensor(name)?;
        if tensor.dtype != dtype || tensor.shape != shape {
            return Err(Error::device(format!(
                "{}: tensor {name} is {:?} {:?}, expected {dtype:?} {shape:?}",
                self.file, tensor.dtype, tensor.shape
            )));
        }
        let (from, to) = tensor.data_offsets;
        Ok(self.data + from..self.data + to)
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let missing = || Error::device(format!("{}: tensor {name} is missing", self.file));
        self.metadata.info(name).ok_or_else(missing)
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
