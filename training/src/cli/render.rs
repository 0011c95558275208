//! `hgad-train render`.

use hgad::Result;

/// Render
#[derive(Debug, clap::Args)]
pub struct RenderArgs {}

pub fn run(_args: RenderArgs) -> Result<()> {
    todo!()
}
