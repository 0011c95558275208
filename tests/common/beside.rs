//! What some tests need and a checkout does not hold: real images and backbones in a folder `shared` beside it, a Python
//! with onnxruntime. Without them such a test says so and is skipped; where they are promised (`HGAD_REQUIRE_SHARED`,
//! `HGAD_PYTHON`) it fails.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `shared/INSIDE` beside the checkout, or beside a folder around it; `None`, and a word about it, where there is none.
pub fn shared(inside: &str) -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = checkout.ancestors().map(|folder| folder.join("shared").join(inside)).find(|path| path.exists());
    if found.is_none() {
        missing("HGAD_REQUIRE_SHARED", &format!("there is no shared/{inside} beside the checkout"));
    }
    found
}

/// A Python that can run onnxruntime, `HGAD_PYTHON` or else `python3`; `None`, and a word about it, where there is none.
pub fn python_with_onnxruntime() -> Option<OsString> {
    python_with("numpy, onnxruntime", "onnxruntime")
}

/// A Python, `HGAD_PYTHON` or else `python3`, that can import `modules`, for people `what`; `None`, and a word about it, where
/// there is none.
pub fn python_with(modules: &str, what: &str) -> Option<OsString> {
    let python = std::env::var_os("HGAD_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    missing("HGAD_PYTHON", &format!("{} cannot run {what}", python.display()));
    None
}

/// Skips what needs something that is missing, unless `promise` is set: then it ought to be there.
fn missing(promise: &str, what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os(promise).is_none(), "{promise} is set, but {what}");
    say(&format!("skipped: {test}: {what}"));
}

/// A line that is seen although the test passes: the test harness keeps back only what the print macros write.
pub fn say(line: &str) {
    // Nobody can be told of a stderr that is closed.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
