#!/bin/bash
# Runs the whole program as a 64-bit ARM board would, interpreted by qemu-user, and holds it against this machine's own.
#
#   smoke.sh setup WORK                   installs what is missing here (Debian, as root), and fetches a compiler into WORK, once
#   smoke.sh run PROGRAMS WORK [CPU...]   PROGRAMS has this machine's hgad and hgad-train (target/release);
#                                         default CPUs: cortex-a72 (as the Raspberry Pi 4) and max (all that ARM has)
#
# This machine inspects rendered parts and keeps their pictures; the ARM program then judges them again (`hgad audit replay`), verifies the
# log, and runs a line of its own. Scores may differ by the rounding of sums that are added up in another order.
#
# environment
#   RUSTC     a compiler with the board's standard library (default: the one that setup fetched)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/.." && pwd)

# The largest difference of two scores that is rounding.
tolerance=1e-3
parts=6

die() { echo "smoke.sh: $*" >&2; exit 3; }

setup() {
    local packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
    if ! dpkg -s "${packages[@]}" > /dev/null 2>&1; then
        command -v apt-get > /dev/null || die "${packages[*]} are wanted, and there is no apt-get to install them"
        [ "$(id -u)" = 0 ] || die "${packages[*]} are wanted; install them as root"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"; } ||
            die "${packages[*]} cannot be installed (is there a network?)"
    fi
    "$here/debian-rust.sh" "$1/rust" || die "no compiler with the board's standard library can be had"
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

run() {
    local programs=$1 work=$2 tool cpu passed=0 failed=0
    shift 2
    [ $# -gt 0 ] || set -- cortex-a72 max
    programs=$(cd "$programs" && pwd)
    mkdir -p "$work"
    work=$(cd "$work" && pwd)
    export RUSTC=${RUSTC:-$work/rust/rustc}
    for tool in qemu-aarch64 aarch64-linux-gnu-gcc "$RUSTC"; do
        command -v "$tool" > /dev/null || die "$tool is missing; install all that is needed with: $0 setup $work"
    done
    "$here/build.sh" aarch64 --release --quiet -p hgad --bin hgad
    local arm=${CARGO_TARGET_DIR:-$project/target}/aarch64-unknown-linux-gnu/release/hgad

    local line=$work/line
    rm -rf "$line"
    mkdir -p "$line/frames" "$line/arm"
    "$programs/hgad-train" render --out "$line/parts" --seed 77 --train 4 --test $parts > /dev/null 2>&1
    find "$line/parts/gear/test" -name '*.png' | while read -r picture; do
        cp "$picture" "$line/frames/$(basename "$(dirname "$picture")")-$(basename "$picture")"
    done
    cp -r "$line/frames" "$line/arm"
    write_line "$line" 5 1000
    # An interpreted frame takes seconds, and many on a busy machine.
    write_line "$line/arm" 0.1 60000
    RUST_LOG=warn "$programs/hgad" run --config "$line/line.toml"

    check() {
        local what=$1
        shift
        echo "== $cpu: $what"
        if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what as $cpu"; fi
    }
    for cpu in "$@"; do
        local board=(env RUST_LOG=warn qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu "$arm")
        check "the log of this machine verifies" "${board[@]}" audit verify "$line/audit.jsonl"
        check "parts that this machine inspected are judged alike" "${board[@]}" audit replay "$line/audit.jsonl" \
            --model "$project/models/demo" --calibration "$project/calibration/demo-gear.toml" --tolerance $tolerance
        rm -rf "$line/arm/audit.jsonl" "$line/arm/pictures"
        check "a line runs" "${board[@]}" run --config "$line/arm/line.toml" --max-parts 3
        check "every part has its record" [ "$(grep -c '"kind":"part"' "$line/arm/audit.jsonl")" = 3 ]
        check "parts have verdicts" grep -qE '"verdict":"(pass|reject)"' "$line/arm/audit.jsonl"
        check "no part passes without one" [ "$(grep -cE '"verdict":"unknown".*"fate":"passed"' "$line/arm/audit.jsonl")" = 0 ]
    done
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}

case ${1:-} in
    setup) [ $# -eq 2 ] || die "setup with which folder?"; setup "$2" ;;
    run) shift; [ $# -ge 2 ] || die "run with which programs, and where?"; run "$@" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
