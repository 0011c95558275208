//! `hgad score`.

use crate::Result;

/// Score
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {}

pub fn run(_args: ScoreArgs) -> Result<()> {
    todo!()
}
