//! `hgad eval`.

use crate::Result;

/// Eval
#[derive(Debug, clap::Args)]
pub struct EvalArgs {}

pub fn run(_args: EvalArgs) -> Result<()> {
    todo!()
}
