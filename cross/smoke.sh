#!/bin/bash
# Runs the whole program as a board would, interpreted by qemu-user, and holds it against this machine's own.
#
#   smoke.sh setup WORK [BOARD]                   installs what is missing here (Debian, as root), and fetches a compiler into WORK, once
#   smoke.sh run PROGRAMS WORK [BOARD [CPU...]]   PROGRAMS has this machine's hgad and hgad-train (target/release)
#
# BOARD is aarch64 (the default), armv7 or x86_64. Default CPUs: cortex-a72 (as the Raspberry Pi 4), cortex-a7 (as the Raspberry Pi 2) or
# qemu64 (without AVX), and max (all that qemu knows).
#
# This machine inspects rendered parts and keeps their pictures; the board's program then judges them again (`hgad audit replay`), verifies
# the log, runs the demo, and a line of its own. Scores may differ by the rounding of sums that are added up in another order. The demo
# leaves a part no more than a second: what an interpreter cannot judge within that must be rejected.
#
# environment
#   PROGRAM   the board's hgad (default: built here)
#   SYSTEM    a folder with the C library that it runs with (default: the cross compiler's)
#   RUSTC     a compiler with the board's standard library (default: the one that setup fetched)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/.." && pwd)

# The largest difference of two scores that is rounding.
tolerance=1e-3
parts=6

die() { echo "smoke.sh: $*" >&2; exit 3; }

# What there is to a board: its target, C compiler and library, Debian packages, qemu and CPUs, and where setup puts its Rust compiler.
choose() {
    case $1 in
        aarch64)
            triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu-gcc system=/usr/aarch64-linux-gnu rust=rust
            packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user) cpus=(cortex-a72 max) ;;
        armv7)
            triple=armv7-unknown-linux-gnueabihf gcc=arm-linux-gnueabihf-gcc system=/usr/arm-linux-gnueabihf rust=rust-armv7
            packages=(gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user) cpus=(cortex-a7 max) ;;
        x86_64)
            triple=x86_64-unknown-linux-gnu gcc=gcc system=/ rust=
            packages=(gcc libc6-dev qemu-user) cpus=(qemu64 max) ;;
        *) die "no such board: $1 (aarch64, armv7 or x86_64)" ;;
    esac
    board=$1 qemu=qemu-${1/armv7/arm}
    system=${SYSTEM:-$system}
}

setup() {
    if ! dpkg -s "${packages[@]}" > /dev/null 2>&1; then
        command -v apt-get > /dev/null || die "${packages[*]} are wanted, and there is no apt-get to install them"
        [ "$(id -u)" = 0 ] || die "${packages[*]} are wanted; install them as root"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"; } ||
            die "${packages[*]} cannot be installed (is there a network?)"
    fi
    [ -z "$rust" ] || "$here/debian-rust.sh" "$1/$rust" "$board" || die "no compiler with the board's standard library can be had"
}

# A line over rendered parts of one product, good and defective ones, that keeps all pictures: write_line FOLDER RATE TRAVEL_MS.
write_line() {
    cat > "$1/line.toml" <<EOF
format_version = 1
[line]
name = "smoke"
class = "gear"
model = "$project/models/demo"
calibration = "$project/calibration/demo-gear.toml"
travel_ms = $3
pulse_ms = 20
[camera]
kind = "folder"
path = "frames"
rate = $2
[output]
kind = "none"
[audit]
file = "audit.jsonl"
pictures = "pictures"
sample = 1.0
EOF
}

# The board's program, as PROGRAM has it or built with the compiler of a folder.
board_program() {
    local tool
    command -v "$qemu" > /dev/null || die "$qemu is missing; install all that is needed with: $0 setup $1 $board"
    program=${PROGRAM:-${CARGO_TARGET_DIR:-$project/target}/$triple/release/hgad}
    [ -z "${PROGRAM:-}" ] || return 0
    export RUSTC=${RUSTC:-${rust:+$1/$rust/}rustc}
    for tool in "$gcc" "$RUSTC"; do
        command -v "$tool" > /dev/null || die "$tool is missing; install all that is needed with: $0 setup $1 $board"
    done
    "$here/build.sh" "$board" --release --quiet -p hgad --bin hgad
}

# Whether a log has so many parts, and none that passed without a verdict.
is_safe() {
    [ "$(grep -c '"kind":"part"' "$1")" = "$2" ] && ! grep -qE '"verdict":"unknown".*"fate":"passed"' "$1"
}

run() {
    local programs=$1 work=$2 cpu passed=0 failed=0
    shift 2
    [ $# -gt 0 ] || set -- "${cpus[@]}"
    programs=$(cd "$programs" && pwd)
    mkdir -p "$work"
    work=$(cd "$work" && pwd)
    board_program "$work"

    local line=$work/line
    rm -rf "$line"
    mkdir -p "$line/frames" "$line/board"
    "$programs/hgad-train" render --out "$line/parts" --seed 77 --train 4 --test $parts > /dev/null 2>&1
    find "$line/parts/gear/test" -name '*.png' | while read -r picture; do
        cp "$picture" "$line/frames/$(basename "$(dirname "$picture")")-$(basename "$picture")"
    done
    cp -r "$line/frames" "$line/board"
    write_line "$line" 5 1000
    # An interpreted frame takes seconds, and many on a busy machine.
    write_line "$line/board" 0.1 60000
    RUST_LOG=warn "$programs/hgad" run --config "$line/line.toml"

    check() {
        local what=$1
        shift
        echo "== $cpu: $what"
        if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what as $cpu"; fi
    }
    for cpu in "$@"; do
        local hgad=(env RUST_LOG=warn "$qemu" -cpu "$cpu" -L "$system" "$program")
        check "the log of this machine verifies" "${hgad[@]}" audit verify "$line/audit.jsonl"
        check "parts that this machine inspected are judged alike" "${hgad[@]}" audit replay "$line/audit.jsonl" \
            --model "$project/models/demo" --calibration "$project/calibration/demo-gear.toml" --tolerance $tolerance
        rm -rf "$line/board/audit.jsonl" "$line/board/pictures"
        check "a line runs" "${hgad[@]}" run --config "$line/board/line.toml" --max-parts 3
        check "every part has its record, and none passes without a verdict" is_safe "$line/board/audit.jsonl" 3
        check "parts have verdicts" grep -qE '"verdict":"(pass|reject)"' "$line/board/audit.jsonl"
        rm -rf "$line/demo"
        check "the demo runs" env RUST_LOG=off "${hgad[@]:2}" demo --parts 2 --max-speed --out "$line/demo"
        check "so has every part of the demo, and none passes without a verdict" is_safe "$line/demo/audit.jsonl" 2
    done
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}

case ${1:-} in
    setup)
        [ $# -ge 2 ] || die "setup with which folder?"
        choose "${3:-aarch64}"
        setup "$2" ;;
    run)
        [ $# -ge 3 ] || die "run with which programs, and where?"
        choose "${4:-aarch64}"
        run "$2" "$3" "${@:5}" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
