//! `hgad-train train`.

use hgad::Result;

/// Train
#[derive(Debug, clap::Args)]
pub struct TrainArgs {}

pub fn run(_args: TrainArgs) -> Result<()> {
    todo!()
}
