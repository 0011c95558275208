//! Which backend of burn trains. This file alone names them.

use std::sync::atomic::AtomicBool;

use burn::backend::{Autodiff, Flex};
use hgad::Result;

use super::run::{Outcome, Task, fit};

/// Where training runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Device {
    /// This machine's processor.
    Cpu,
    /// The first NVIDIA GPU, through CUDA (a program built with `--features cuda`).
    Cuda,
    /// The first GPU that Vulkan finds (a program built with `--features vulkan`).
    Vulkan,
}

impl Device {
    /// Trains on this device.
    ///
    /// # Errors
    ///
    /// This program was built without the device, or training failed (see [`fit`]).
    pub fn fit(self, task: &Task, stop: &AtomicBool) -> Result<Outcome> {
        match self {
            Device::Cpu => fit::<Autodiff<Flex>>(task, &Default::default(), stop),
            Device::Cuda => on_cuda(task, stop),
            Device::Vulkan => on_vulkan(task, stop),
        }
    }
}

#[cfg(feature = "cuda")]
fn on_cuda(task: &Task, stop: &AtomicBool) -> Result<Outcome> {
    fit::<Autodiff<burn::backend::Cuda>>(task, &Default::default(), stop)
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_task: &Task, _stop: &AtomicBool) -> Result<Outcome> {
    Err(absent("CUDA", "cuda"))
}

#[cfg(feature = "vulkan")]
fn on_vulkan(task: &Task, stop: &AtomicBool) -> Result<Outcome> {
    fit::<Autodiff<burn::backend::Vulkan>>(task, &Default::default(), stop)
}

#[cfg(not(feature = "vulkan"))]
fn on_vulkan(_task: &Task, _stop: &AtomicBool) -> Result<Outcome> {
    Err(absent("Vulkan", "vulkan"))
}

#[cfg(not(all(feature = "cuda", feature = "vulkan")))]
fn absent(name: &str, feature: &str) -> hgad::Error {
    hgad::Error::usage(format!("this program was built without {name}")).advise(format!(
        "build it with `cargo build --release -p hgad-train --features {feature}`, or use --device cpu"
    ))
}
