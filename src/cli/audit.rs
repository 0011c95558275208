//! `hgad audit`.

use crate::Result;

/// Audit
#[derive(Debug, clap::Args)]
pub struct AuditArgs {}

pub fn run(_args: AuditArgs) -> Result<()> {
    todo!()
}
