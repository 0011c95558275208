#!/bin/bash
# Writes src/{x86_64,aarch64,arm}.rs anew from the kernel headers of each architecture.
#
# Needs libclang and the headers (Debian: libclang-dev libc6-dev libc6-dev-arm64-cross libc6-dev-armhf-cross). The committed
# files came from the headers of linux-libc-dev 6.1 and bindgen 0.72.1; with others the files may differ in what the kernel
# has added since.
#
#   generate.sh [FOLDER]   writes into FOLDER instead, to compare
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "${1:-$here/src}" && cd "${1:-$here/src}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/src"
echo '#include <linux/videodev2.h>' > "$work/wrapper.h"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "generate"
version = "0.0.0"
edition = "2021"

[dependencies]
bindgen = "=0.72.1"
TOML
cat > "$work/src/main.rs" <<'RUST'
fn main() {
    let out = std::env::args().nth(1).unwrap();
    for (target, include, file) in [
        ("x86_64-unknown-linux-gnu", "/usr/include/x86_64-linux-gnu", "x86_64"),
        ("aarch64-unknown-linux-gnu", "/usr/aarch64-linux-gnu/include", "aarch64"),
        ("armv7-unknown-linux-gnueabihf", "/usr/arm-linux-gnueabihf/include", "arm"),
    ] {
        let items = "[vV]4[lL]2_.*|VIDIOC_.*|timeval|timespec|v4l2.*|time_t|__u8|__u16|__u32|__s32|__u64|__s64|fd_set";
        bindgen::Builder::default()
            .header("wrapper.h")
            .clang_args([format!("--target={target}"), format!("-isystem{include}")])
            .allowlist_item(items)
            .layout_tests(true)
            .rust_target(bindgen::RustTarget::stable(82, 0).ok().unwrap())
            .generate()
            .unwrap()
            .write_to_file(format!("{out}/{file}.rs"))
            .unwrap();
    }
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet -- "$out"
