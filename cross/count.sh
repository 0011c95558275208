#!/bin/bash
# Counts the instructions that a frame costs on 64-bit ARM, interpreted by qemu-user, as several CPUs: what there is to compare models
# and kernels by where no such board is at hand. How long they take, a board alone can tell.
#
#   count.sh WORK BUNDLE...                     one line for each bundle and CPU, in millions of instructions
#
# A frame of 640 x 480 pixels goes through `hgad score`; its instructions are half the difference between 4 and 2 of them, so that loading
# does not count, nor does reading the file. `float` and `8-bit` are convolutions, `codes` makes bytes of floats and floats of bytes,
# `graph` is what tract does itself; `times` is the frame as a share of the first bundle's on that CPU. System packages: gcc and those of
# smoke.sh, which `smoke.sh setup WORK` installs.
#
# environment
#   CPUS      of qemu, separated by spaces (default: cortex-a53 cortex-a72 cortex-a76 max)
#   PROGRAM   the ARM program, with its symbols (default: built here, as smoke.sh builds it)
#   LONGEST   so many functions with the most instructions are listed behind each line (default: 0)
#   RUSTC     a compiler with the board's standard library (default: the one that smoke.sh setup fetched)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

stages=(preprocess float 8-bit codes flows graph score)
# Which functions begin a stage, as extended regular expressions of their names.
marks="preprocess ^hgad::inspect::preprocess::(resize|to_tensor)$
float ^<hgad::inspect::network::operator::Operator<hgad::inspect::network::convolutions::Layer> as tract_core::ops::EvalOp>::eval$
8-bit ^<hgad::inspect::network::operator::Operator<hgad::inspect::network::quantised::Layer> as tract_core::ops::EvalOp>::eval$
codes ^<hgad::inspect::network::operator::Operator<hgad::inspect::network::quantised::(Quantise|Dequantise)> as tract_core::ops::EvalOp>::eval$
flows ^<hgad::inspect::network::flow::(Flow as tract_core::ops::EvalOp>::eval|FlowKernel>::(run|tile))$
graph ^(<hgad::inspect::network::Network>::run|tract_core::plan::eval::<.*)$
score ^(<hgad::inspect::Inspector>::(inspect|level_maps_of|score_maps|resembles)|hgad::inspect::(cells::distance|mixture::class_evidence))$
rest ^hgad::(cli::score::run|dataset::files::read_rgb)$"

die() { echo "count.sh: $*" >&2; exit 3; }

# Functions' names as Rust has them, without the hashes of their crates.
plain() { c++filt | sed -E 's/\[[0-9a-f]+\]//g'; }

# The marks of a program for the plugin: its own names of the functions that begin a stage. Every stage must have one.
mark() {
    local stage expression
    nm --defined-only "$1" | awk '$2 ~ /^[tT]$/ { print $3 }' > "$work/mangled"
    plain < "$work/mangled" | paste "$work/mangled" - > "$work/symbols"
    while read -r stage expression; do
        E=$expression awk -F'\t' -v stage="$stage" '$2 ~ ENVIRON["E"] { print $1, stage; found = 1 } END { exit !found }' "$work/symbols" ||
            die "the program has no function like $expression (is it stripped, or older?)"
    done <<< "$marks"
}

# Instructions by stage and function of a run over so many frames: run CPU BUNDLE FRAMES.
run() {
    local class frames=()
    class=$(sed -nE '/^classes/,/\]/s/^[^"]*"([^"]*)".*/\1/p' "$2/manifest.toml" | head -n 1)
    mapfile -t frames < <(yes "$work/frame.ppm" | head -n "$3")
    RUST_LOG=error qemu-aarch64 -cpu "$1" -L /usr/aarch64-linux-gnu -d plugin -D /dev/null \
        -plugin "$work/plugin.so,marks=$work/marks,out=$work/counted" "$program" score --model "$2" --class "$class" "${frames[@]}" > /dev/null
    awk '{ sums[$2 " " $3] += $1 } END { for (of in sums) print of, sums[of] }' "$work/counted"
}

[ $# -ge 2 ] || { sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2; }
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
export RUSTC=${RUSTC:-$work/rust/rustc}
for tool in qemu-aarch64 gcc nm c++filt; do
    command -v "$tool" > /dev/null || die "$tool is missing; install all that is needed with: $here/smoke.sh setup $work"
done
for bundle in "$@"; do [ -f "$bundle/manifest.toml" ] || die "$bundle is no bundle: it has no manifest.toml"; done
program=${PROGRAM:-}
if [ -z "$program" ]; then
    "$here/build.sh" aarch64 --release --quiet -p hgad --bin hgad
    program=${CARGO_TARGET_DIR:-$here/../target}/aarch64-unknown-linux-gnu/release/hgad
fi
# The interface's version that qemu still takes.
major=$(qemu-aarch64 --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p;q')
gcc -O2 -Wall -Wextra -shared -fPIC -fvisibility=hidden -DAPI=$((major < 9 ? 1 : 2)) -o "$work/plugin.so" "$here/count/plugin.c"
mark "$program" > "$work/marks"
{ printf 'P6 640 480 255\n'; seq 1000000 | head -c $((640 * 480 * 3)) || true; } > "$work/frame.ppm"

printf '%-24s %-11s' bundle CPU; printf ' %10s' "${stages[@]}" frame times; echo
declare -A first
for bundle in "$@"; do
    for cpu in ${CPUS:-cortex-a53 cortex-a72 cortex-a76 max}; do
        run "$cpu" "$bundle" 2 > "$work/few"
        run "$cpu" "$bundle" 4 > "$work/more"
        awk 'NR == FNR { few[$1 " " $2] = $3; next } { printf "%.4f %s %s\n", ($3 - few[$1 " " $2]) / 2e6, $1, $2 }' "$work/few" "$work/more" > "$work/frame"
        frame=$(awk '$2 !~ "^(rest|other)$" { all += $1 } END { printf "%.4f", all }' "$work/frame")
        : "${first[$cpu]:=$frame}"
        printf '%-24s %-11s' "$(basename "$bundle")" "$cpu"
        for stage in "${stages[@]}"; do awk -v s="$stage" '$2 == s { all += $1 } END { printf " %10.2f", all }' "$work/frame"; done
        awk -v all="$frame" -v first="${first[$cpu]}" 'BEGIN { printf " %10.2f %10.3f\n", all, all / first }'
        [ "${LONGEST:-0}" = 0 ] || awk '$2 !~ "^(rest|other)$"' "$work/frame" | sort -nr | sed "${LONGEST}q" | plain | sed 's/^/    /' | cut -c1-150
    done
done
