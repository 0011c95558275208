#!/bin/bash
# Builds the hgad that is given away: one file that starts with Debian 11's C library (2.31) and every newer one, and that needs
# no other library.
#
#   release.sh build aarch64|armv7|x86_64 [CARGO OPTION...]   target/TRIPLE/dist/hgad, which must pass the check
#   release.sh check FILE...                                  whether programs ask for no more than such a system has
#   release.sh try aarch64|armv7|x86_64 PROGRAMS WORK         runs it with Debian 11's own C library, interpreted, as smoke.sh does
#
# `build` fetches zig and cargo-zigbuild into target/release-tools, once (PyPI; python3 with venv); otherwise it wants what build.sh wants.
# `check` wants readelf (binutils). `try` wants qemu-user and a Debian mirror, for the library alone, which it unpacks into WORK; PROGRAMS
# has this machine's hgad and hgad-train (target/release).
#
# environment
#   RUSTC              a compiler with the board's standard library (debian-rust.sh fetches one)
#   CARGO_TARGET_DIR   where it is built, as cargo has it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/.." && pwd)
target=${CARGO_TARGET_DIR:-$project/target}

# Debian's release, its C library, and the tools of which it was tried.
system=bullseye
glibc=2.31
tools=(ziglang==0.17.1 cargo-zigbuild==0.24.1)
# All that a program may load: the parts of the C library and the compiler's own.
libraries='lib(c|m|dl|rt|pthread|gcc_s)\.so\.[0-9]+|ld-linux[a-z0-9-]*\.so\.[0-9]+'

die() { echo "release.sh: $*" >&2; exit 3; }

# An architecture's names: name TRIPLE, DEBIAN or QEMU.
name() {
    case $2-$1 in
        aarch64-triple) echo aarch64-unknown-linux-gnu ;; aarch64-debian) echo arm64 ;;
        armv7-triple) echo armv7-unknown-linux-gnueabihf ;; armv7-debian) echo armhf ;; armv7-qemu) echo arm ;;
        x86_64-triple) echo x86_64-unknown-linux-gnu ;; x86_64-debian) echo amd64 ;;
        aarch64-qemu | x86_64-qemu) echo "$2" ;;
        *) die "no binary is made for $2" ;;
    esac
}

fetch_tools() {
    local folder=$target/release-tools
    if [ "$(cat "$folder/complete" 2> /dev/null)" != "${tools[*]}" ]; then
        rm -rf "$folder"
        { python3 -m venv "$folder" && "$folder/bin/pip" install -q "${tools[@]}"; } || die "${tools[*]} cannot be had (is there a network?)"
        echo "${tools[*]}" > "$folder/complete"
    fi
    # cargo-zigbuild finds zig by the python3 that it finds.
    PATH=$folder/bin:$PATH
}

# What one program asks of the system: a line for each thing that Debian 11 has not, and nothing else.
refusals() {
    local needed wanted newest
    needed=$(readelf -W -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    wanted=$(readelf -W -V "$1" | sed -n '/\.gnu\.version_r/,$p' | grep -oE 'GLIBC_[A-Za-z0-9_.]+' | sort -uV || true)
    if ! grep -qx 'libc\.so\.6' <<< "$needed" || [ -z "$wanted" ]; then echo "it names no C library: is it a program of such a system?"; fi
    grep -vxE "$libraries" <<< "$needed" | sed 's/^/it loads /' || true
    grep -vxE 'GLIBC_[0-9.]+' <<< "$wanted" | sed 's/^/it wants /' || true
    newest=$(printf '%s\n' "GLIBC_$glibc" "$(grep -xE 'GLIBC_[0-9.]+' <<< "$wanted")" | sort -V | tail -n 1)
    [ "$newest" = "GLIBC_$glibc" ] || echo "it wants $newest"
}

check() {
    local file found failed=0
    command -v readelf > /dev/null || die "readelf is missing (binutils)"
    for file in "$@"; do
        readelf -h "$file" > /dev/null || die "$file cannot be read as a program"
        found=$(LC_ALL=C refusals "$file")
        [ -z "$found" ] || { failed=1; sed "s|^|$file does not start on Debian 11: |" <<< "$found" >&2; continue; }
        echo "$file: $(stat -c %s "$file") bytes, wants $(readelf -W -V "$file" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1) at most"
    done
    return $failed
}

build() {
    local architecture=$1 triple
    shift
    triple=$(name triple "$architecture")
    fetch_tools
    GLIBC=$glibc "$here/build.sh" "$architecture" --profile dist -p hgad --bin hgad "$@"
    check "$target/$triple/dist/hgad"
}

# Debian 11's C library of an architecture, unpacked into a folder.
fetch_library() {
    local debian=$1 folder=$2
    [ ! -e "$folder/complete" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    # shellcheck source=private-apt.sh
    . "$here/private-apt.sh"
    private_apt "$folder/apt" "$system" "$debian"
    (cd "$folder" && apt-get download -qq "libc6:$debian" && dpkg -x libc6_*.deb root && rm -r libc6_*.deb apt)
    # Its links would lead to this machine's own library.
    find "$folder/root" -type l -lname '/*' | while read -r link; do ln -sfn "$folder/root$(readlink "$link")" "$link"; done
    touch "$folder/complete"
}

try() {
    local architecture=$1 programs=$2 work root program qemu
    program=$target/$(name triple "$architecture")/dist/hgad
    qemu=qemu-$(name qemu "$architecture")
    [ -x "$program" ] || die "there is no $program; build it with: $0 build $architecture"
    command -v "$qemu" > /dev/null || die "$qemu is missing (qemu-user)"
    mkdir -p "$3"
    work=$(cd "$3" && pwd)
    fetch_library "$(name debian "$architecture")" "$work/$system-$architecture"
    root=$work/$system-$architecture/root
    # The library is a program too, which says what it is.
    "$qemu" -L "$root" "$(find "$root/lib" -name libc.so.6)" | head -n 1
    PROGRAM=$program SYSTEM=$root "$here/smoke.sh" run "$programs" "$work" "$architecture"
}

case ${1:-}-$# in
    build-1 | check-1 | try-[123]) die "$1 what?" ;;
    build-*) shift; build "$@" ;;
    check-*) shift; check "$@" ;;
    try-4) try "$2" "$3" "$4" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
