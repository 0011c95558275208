//! On-line visual inspection for conveyors.
//!
//! Data flows one way through the stages, one module each; [`runtime`] alone knows all of them:
//!
//! ```text
//! camera ----> inspect ----> line ----> outputs
//!                              |-----> audit
//! ```
//!
//! A [`bundle`] holds the trained model, a [`calibrate::Calibration`] the threshold that was set on normal parts.
#![warn(missing_docs)]

pub mod approval;
pub mod audit;
pub mod bench;
pub mod bundle;
pub mod calibrate;
pub mod camera;
pub mod check;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod demo;
pub mod digest;
pub mod disturb;
pub mod draft;
pub mod drift;
mod error;
pub mod evaluate;
pub mod gpio;
mod health;
mod heap;
pub mod inputs;
pub mod inspect;
mod jpeg;
pub mod line;
pub mod modbus;
pub mod outputs;
pub mod page;
pub mod picture;
pub mod presence;
pub mod print;
mod progress;
mod regular;
pub mod runtime;
pub mod simulate;
pub mod synthetic;
pub mod time;

pub(crate) use error::panic_text;
pub use error::{Error, ErrorKind, Result};
