//! Threads that give way to whoever decides about parts.

use crate::{Error, Result};

/// How nice they are.
const NICE: libc::c_int = 10;

/// Starts a thread of this name, which works when nobody else wants to.
///
/// # Errors
///
/// The system gives no thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // SAFETY: no memory is involved. On Linux this is the calling thread alone; a refusal does no harm.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        work();
    });
    thread.map_err(|error| Error::device(format!("the system gives no thread '{name}'")).because(error))?;
    Ok(())
}
