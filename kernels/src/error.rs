//! What can be wrong with a kernel's arguments.

use std::fmt;

use crate::Tier;

/// Why a kernel was not made or not run. Nothing has been written to the output then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// This CPU does not have the tier's instructions.
    Unavailable(Tier),
    /// No tier has this name (see `HGAD_KERNELS`).
    UnknownTier(String),
    /// A slice's length does not match the shape: what, the length that it must have, and the length that it has.
    Length(&'static str, usize, usize),
    /// The shape itself cannot be computed: an extent or stride of 0, or a window larger than the padded image.
    Shape(&'static str),
    /// A parameter is out of its range.
    Parameter(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unavailable(tier) => write!(f, "this CPU has no {tier} instructions"),
            Error::UnknownTier(name) => {
                let names: Vec<&str> = Tier::ALL.iter().map(|tier| tier.name()).collect();
                write!(f, "HGAD_KERNELS: no kernels are called {name}; there are {}", names.join(", "))
            }
            Error::Length(what, wanted, got) => write!(f, "{what}: {got} elements, the shape has {wanted}"),
            Error::Shape(what) | Error::Parameter(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Refuses a slice of another length than the shape's.
pub(crate) fn check_length(what: &'static str, wanted: usize, got: usize) -> Result<(), Error> {
    if wanted == got { Ok(()) } else { Err(Error::Length(what, wanted, got)) }
}
