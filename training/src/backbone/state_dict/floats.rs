//! The ways in which files keep floating point numbers, all with the lowest byte first.

use half::{bf16, f16};

/// The type of a file's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Half,
    BFloat16,
    Float,
    Double,
}

impl Kind {
    /// By PyTorch's name of the storage, without "Storage", or by safetensors' name of the type.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "Half" | "F16" => Some(Kind::Half),
            "BFloat16" | "BF16" => Some(Kind::BFloat16),
            "Float" | "F32" => Some(Kind::Float),
            "Double" | "F64" => Some(Kind::Double),
            _ => None,
        }
    }

    /// The numbers in `bytes`; what does not fill one at the end is left out.
    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        fn all<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(of).collect()
        }
        match self {
            Kind::Half => all(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Kind::BFloat16 => all(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Kind::Float => all(bytes, f32::from_le_bytes),
            Kind::Double => all(bytes, |b| f64::from_le_bytes(b) as f32),
        }
    }
}

/// Bytes of an element of PyTorch's storage `name`; `None` for those that are not known.
pub fn size(name: &str) -> Option<usize> {
    match name {
        "Byte" | "Char" | "Bool" => Some(1),
        "Half" | "BFloat16" | "Short" => Some(2),
        "Float" | "Int" => Some(4),
        "Double" | "Long" => Some(8),
        _ => None,
    }
}
