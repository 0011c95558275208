//! Which backend of burn trains. This file alone names them.

use std::panic::catch_unwind;
use std::sync::atomic::AtomicBool;

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use hgad::Result;

use super::run::{Outcome, Task, fit};

/// What computes with flows that stand: this machine's processor, wherever they are trained.
pub(crate) type Processor = Flex;

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
    /// Makes sure that this program can train on the device, by a sum on it.
    ///
    /// # Errors
    ///
    /// This program was built without the device (a usage error), or the device does not answer (a device error).
    pub fn check(self) -> Result<()> {
        match self {
            Device::Cpu => answers::<Flex>("the processor"),
            #[cfg(feature = "cuda")]
            Device::Cuda => answers::<burn::backend::Cuda>("CUDA"),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda => Err(absent("CUDA", "cuda")),
            #[cfg(feature = "vulkan")]
            Device::Vulkan => answers::<burn::backend::Vulkan>("Vulkan"),
            #[cfg(not(feature = "vulkan"))]
            Device::Vulkan => Err(absent("Vulkan", "vulkan")),
        }
    }

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

/// Backends panic where their driver or device is not there.
fn answers<B: Backend>(name: &str) -> Result<()> {
    let sum = || Tensor::<B, 1>::ones([2], &Default::default()).sum().into_data();
    catch_unwind(sum).map(drop).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        hgad::Error::device(format!("{name} does not answer"))
            .because(text.unwrap_or("it stopped without a word").to_owned())
            .advise("see that the device and its driver are there, or use --device cpu")
    })
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
