//! `hgad run`.

use crate::Result;

/// Run
#[derive(Debug, clap::Args)]
pub struct RunArgs {}

pub fn run(_args: RunArgs) -> Result<()> {
    todo!()
}
