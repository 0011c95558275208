//! `hgad calibrate`.

use crate::Result;

/// Calibrate
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {}

pub fn run(_args: CalibrateArgs) -> Result<()> {
    todo!()
}
