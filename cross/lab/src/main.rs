//! Runs the camera, GPIO and serial code against the kernel's simulators, vivid, gpio-sim and a USB gadget, inside the guest of
//! `guest.sh`.
//!
//! `hgad-lab [WORD...]` runs the checks whose names contain a word, or all of them, and ends with `N passed, N failed`.

mod camera;
mod gpio;
mod heart;
mod inputs;
mod serial;
mod sim;
mod vivid;

use std::process::ExitCode;

/// Why a check failed, or `Ok` with what it measured.
type Outcome = Result<String, Box<dyn std::error::Error>>;

type Check = (&'static str, fn() -> Outcome);

/// Fails the check, with a reason, when a condition does not hold.
#[macro_export]
macro_rules! hold {
    ($condition:expr, $($reason:tt)*) => {
        // Not `if !$condition`: a comparison with a NaN must fail the check, and says so without a negation.
        match $condition {
            true => {}
            false => return Err(format!($($reason)*).into()),
        }
    };
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, mode] = words.as_slice()
        && first == "--child"
    {
        return heart::child(mode);
    }
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let (mut passed, mut failed) = (0, 0);
    let checks = [camera::CHECKS, gpio::CHECKS, inputs::CHECKS, heart::CHECKS, serial::CHECKS].concat();
    for (name, check) in checks.iter().filter(|(name, _)| wanted(name)) {
        match check() {
            Ok(measured) => {
                passed += 1;
                println!("ok      {name}: {measured}");
            }
            Err(why) => {
                failed += 1;
                println!("FAILED  {name}: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
