//! `hgad-train pretrain`.

use hgad::Result;

/// Pretrain
#[derive(Debug, clap::Args)]
pub struct PretrainArgs {}

pub fn run(_args: PretrainArgs) -> Result<()> {
    todo!()
}
