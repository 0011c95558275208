#!/bin/bash
# Builds hgad for a board, without Docker.
#
#   build.sh aarch64|armv7|x86_64 [CARGO OPTION...]    for example: cross/build.sh aarch64 --profile dist -p hgad
#
# It takes the Rust standard library of the target from rustup where rustup has it (rustup target add ...). Where it does
# not, say with RUSTC which compiler has it. The C compiler is Debian's: gcc-aarch64-linux-gnu with libc6-dev-arm64-cross,
# or gcc-arm-linux-gnueabihf with libc6-dev-armhf-cross. The board needs a C library at least as new as this machine's
# (see: ldd --version), unless GLIBC says another.
#
# environment
#   RUSTC     a compiler with the board's standard library (debian-rust.sh fetches one)
#   GLIBC     the oldest C library that it shall start with, 2.31 for example: then zig compiles C and links, and no gcc is
#             wanted, but cargo-zigbuild (release.sh brings both)
set -euo pipefail

case ${1:-} in
    aarch64) target=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu-gcc ;;
    armv7) target=armv7-unknown-linux-gnueabihf gcc=arm-linux-gnueabihf-gcc ;;
    x86_64) target=x86_64-unknown-linux-gnu gcc=gcc ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
shift
cd "$(dirname "$0")/.."

rustc=${RUSTC:-rustc}
std=$("$rustc" --print target-libdir --target "$target")
if ! ls "$std"/libstd-*.rlib > /dev/null 2>&1; then
    echo "build.sh: $rustc has no standard library for $target; try: rustup target add $target" >&2
    exit 3
fi
[ $# -gt 0 ] || set -- --release -p hgad

if [ -n "${GLIBC:-}" ]; then
    command -v cargo-zigbuild > /dev/null || { echo "build.sh: cargo-zigbuild is missing" >&2; exit 3; }
    exec cargo zigbuild --target "$target.$GLIBC" "$@"
fi
command -v "$gcc" > /dev/null || { echo "build.sh: $gcc is missing" >&2; exit 3; }
upper=$(echo "$target" | tr a-z- A-Z_)
export "CARGO_TARGET_${upper}_LINKER=$gcc" "CC_${target//-/_}=$gcc"
exec cargo "${CARGO_COMMAND:-build}" --target "$target" "$@"
