//! The lab outside of its guest.

use std::process::Command;

/// Its checks unload drivers, unplug adapters and fill disks: on a machine that is not the guest none of them may begin.
#[test]
fn a_machine_that_is_not_the_guest_is_left_alone() {
    let output = Command::new(env!("CARGO_BIN_EXE_hgad-lab")).output().expect("the lab starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(output.stdout.is_empty() && said.contains("cross/lab/run"), "{said}");
}
