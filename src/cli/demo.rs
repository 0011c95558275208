//! `hgad demo`.

use crate::Result;

/// Demo
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}

pub fn run(_args: DemoArgs) -> Result<()> {
    todo!()
}
