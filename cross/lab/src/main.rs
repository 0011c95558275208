//! Runs the camera, GPIO and serial code against the kernel's simulators, vivid, gpio-sim and a USB gadget, inside the guest of
//! `guest.sh`.
//!
//! `hgad-lab [--quick | --parts N] [WORD...]` runs the checks whose names contain a word, or all of them, and ends with a table and
//! `N passed, N failed, N skipped`. `hgad-lab --pictures FOLDER` takes the pictures that the lab's model is trained on.

mod belt;
mod camera;
mod edges;
mod faults;
mod gpio;
mod heart;
mod inputs;
mod line;
#[path = "../../../tests/common/plc.rs"]
#[allow(dead_code, reason = "the tests of the product use more of it")]
mod plc;
mod process;
mod rejects;
mod serial;
mod sim;
mod vivid;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
    if !std::path::Path::new(sim::SIM).exists() {
        eprintln!(
            "error: hgad-lab runs inside the lab's guest: it unloads drivers and fills disks\n  try: cross/lab/run"
        );
        return ExitCode::from(3);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--child", mode] => heart::child(mode),
        ["--pictures", folder] => match line::photograph(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::FAILURE
            }
        },
        ["--quick", words @ ..] => check(&quick(), words),
        ["--parts", count, words @ ..] => {
            let Ok(count) = count.parse() else {
                eprintln!("error: --parts wants a number, not '{count}'");
                return ExitCode::from(2);
            };
            belt::PARTS.store(count, Ordering::Relaxed);
            check(&all(), words)
        }
        words => check(&all(), words),
    }
}

/// The checks of the drivers alone.
fn drivers() -> Vec<Check> {
    [camera::CHECKS, gpio::CHECKS, inputs::CHECKS, heart::CHECKS, serial::CHECKS].concat()
}

fn all() -> Vec<Check> {
    [drivers(), [belt::CHECKS, rejects::CHECKS, faults::CHECKS].concat()].concat()
}

/// The drivers, and the whole program: a belt of a few parts, and the faults that a change breaks most easily.
fn quick() -> Vec<Check> {
    [&drivers()[..], belt::QUICK, faults::QUICK].concat()
}

/// Runs the checks whose names contain one of the words, or all of them.
fn check(checks: &[Check], words: &[&str]) -> ExitCode {
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut table = Vec::new();
    let mut skipped = 0;
    for (name, check) in checks.iter().filter(|(name, _)| wanted(name)) {
        if *name == rejects::CHECKS[0].0 && !std::path::Path::new(rejects::PICTURES).exists() {
            println!("skipped {name}: there are no real pictures (shared/data/commutator beside the checkout)");
            skipped += 1;
            continue;
        }
        let began = Instant::now();
        let outcome = check();
        let (verdict, told) = match &outcome {
            Ok(measured) => ("ok    ", measured.clone()),
            Err(why) => ("FAILED", why.to_string()),
        };
        println!("{verdict}  {name}: {told}");
        table.push((outcome.is_ok(), format!("{verdict}  {name:<45}{:>7.1} s", began.elapsed().as_secs_f64())));
    }
    println!();
    table.iter().for_each(|(_, row)| println!("{row}"));
    let passed = table.iter().filter(|(is_ok, _)| *is_ok).count();
    println!("{passed} passed, {} failed, {skipped} skipped", table.len() - passed);
    if passed > 0 && passed == table.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
