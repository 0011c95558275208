#!/bin/bash
# Boots a Linux guest with a virtual camera (vivid) and GPIO lines (gpio-sim), and runs a command in it. For the lab's own checks there is
# `run`, beside this.
#
#   guest.sh setup                 installs what this machine needs (Debian, as root)
#   guest.sh tools                 names the programs that are missing here
#   guest.sh kernel                fetches the guest's kernel, unless it is there
#   guest.sh run COMMAND [ARG...]  boots and runs COMMAND; its exit status is this script's
#
# The guest is Debian's newest backported kernel under qemu's own interpreter: no KVM and no rights are needed, and
# nothing of this machine's /dev is touched. Its root file system is a busybox and the programs named by PROGRAMS.
#
# environment
#   GUEST     x86_64 (default), or aarch64: a 64-bit ARM board with the Raspberry Pi 4's processor, whose PROGRAMS cross/build.sh builds
#   PROGRAMS  programs to take along, with the libraries that they need; found in the guest's PATH
#   FOLDERS   folders to take along, to the guest's root
#   SHARE     a folder of this machine that the guest sees, writable, as /share
#   LAB       where the kernel is kept, in a folder named as the guest (default: $XDG_CACHE_HOME/hgad-lab or ~/.cache/hgad-lab)
#   TIMEOUT   seconds until the guest is stopped (default: 300)
#   VIVID     vivid's module parameters (default: two webcams, the second one multi-planar)
set -euo pipefail

# Where Debian keeps modprobe and depmod, which others than root may run too.
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
guest=${GUEST:-x86_64}
lab=${LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/hgad-lab}/$guest
mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
vivid=${VIVID:-n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x0 multiplanar=1,2}

die() { echo "guest.sh: $*" >&2; exit 3; }
. "$here/../private-apt.sh"

# What differs between the guests. no_timer_check: on a busy machine the kernel would find its timer too slow, and give up.
case $guest in
    x86_64)
        debian=amd64 package=qemu-system-x86 tool_prefix= libraries=
        # -cpu max: the interpreter's CPU has AVX2, which the network's kernels ask for.
        machine=(qemu-system-x86_64 -M q35 -cpu max)
        append="console=ttyS0 no_timer_check"
        ;;
    aarch64)
        debian=arm64 package=qemu-system-arm tool_prefix=aarch64-linux-gnu- libraries=/usr/aarch64-linux-gnu
        machine=(qemu-system-aarch64 -M virt -cpu cortex-a72)
        append="console=ttyAMA0"
        ;;
    *) die "GUEST=$guest: there are x86_64 and aarch64" ;;
esac

setup() {
    local packages=("$package" busybox-static cpio kmod xz-utils zstd)
    [ -z "$libraries" ] || packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"
}

# Unpacks Debian's packages for the guest, and those that they need: fetch FOLDER SUITE PACKAGE PATTERN, where PATTERN chooses.
fetch() {
    local folder=$1 suite=$2 packages package
    private_apt "$lab/apt" "$suite" "$debian"
    packages=$(dependencies "$3" | grep -E "$4")
    [ -n "$packages" ] || die "no $3 in $suite"
    rm -rf "$lab/packages"
    mkdir -p "$folder" "$lab/packages"
    # shellcheck disable=SC2086
    (cd "$lab/packages" && apt-get download -qq $packages)
    for package in "$lab"/packages/*.deb; do dpkg -x "$package" "$folder"; done
    rm -rf "$lab/packages" "$lab/apt"
}

# Debian's 6.1 and 6.12 kernels come without gpio-sim; the backported ones have it.
fetch_kernel() {
    [ -e "$lab/kernel/complete" ] && return
    rm -rf "$lab/kernel"
    fetch "$lab/kernel" trixie-backports "linux-image-$debian" '^linux-(image|binary|modules)-[0-9]'
    [ -z "$libraries" ] || fetch "$lab/kernel" trixie busybox-static '^busybox-static$'
    [ -e "$lab/kernel/lib/modules" ] || { mkdir -p "$lab/kernel/lib"; ln -s ../usr/lib/modules "$lab/kernel/lib/modules"; }
    depmod -b "$lab/kernel" "$(kernel_version)"
    touch "$lab/kernel/complete"
}

kernel_version() { basename "$(find -L "$lab/kernel/lib/modules" -mindepth 1 -maxdepth 1 -type d | head -n 1)"; }

# Copies a program into the guest's root, and the libraries that it needs where its loader looks for them.
take_program() {
    local root=$1 program=$2 library
    install -D "$program" "$root/bin/$(basename "$program")"
    # The guest would unpack hundreds of megabytes that only a debugger reads.
    if command -v "${tool_prefix}strip" > /dev/null; then "${tool_prefix}strip" --strip-debug "$root/bin/$(basename "$program")"; fi
    needed "$program" | while read -r library; do
        [ -e "$root$library" ] || install -D "$libraries$library" "$root$library"
    done
}

# The libraries of a program, by the paths at which the guest's loader finds them.
needed() {
    if [ -z "$libraries" ]; then
        { ldd "$1" 2> /dev/null | grep -oE '/[^ ]+' || true; } | sort -u
        return
    fi
    # Nothing of another architecture can be asked for what it loads: all of the few that programs in Rust need, then.
    local library
    for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libgcc_s.so.1; do echo "/lib/$library"; done
}

# Copies a module and those that it needs, unpacked, and appends them to /modules in the order in which they load.
take_module() {
    local root=$1 name=$2 parameters=${3:-} file plain
    modprobe -d "$lab/kernel" -S "$(kernel_version)" --show-depends "$name" | while read -r kind file _; do
        [ "$kind" = insmod ] || continue
        plain=$(basename "$file"); plain=${plain%.xz}; plain=${plain%.zst}
        grep -q "^$plain" "$root/modules" && continue
        case $file in
            *.xz) xz -dc "$file" ;;
            *.zst) zstd -qdc "$file" ;;
            *) cat "$file" ;;
        esac > "$root/lib/modules/$plain"
        if [ "$plain" = "$name.ko" ]; then echo "$plain $parameters"; else echo "$plain"; fi >> "$root/modules"
    done
}

build_root() {
    local root=$lab/root program folder
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,share,lib/modules}
    : > "$root/modules"
    if [ -z "$libraries" ]; then take_program "$root" "$(command -v busybox)"; else install "$lab/kernel/usr/bin/busybox" "$root/bin"; fi
    for program in ${PROGRAMS:-}; do take_program "$root" "$program"; done
    for folder in ${FOLDERS:-}; do cp -r "$folder" "$root/"; done
    [ -z "${SHARE:-}" ] || { take_module "$root" 9pnet_virtio; take_module "$root" 9p; }
    take_module "$root" vivid "$vivid"
    take_module "$root" gpio-sim
    # A serial adapter: a gadget, in a USB port that the kernel plays itself. What it asks for at run time is loaded before it.
    local module
    for module in dummy_hcd usb_f_acm g_serial cdc-acm; do take_module "$root" $module; done
    # A disk in memory, with a file system that may become read-only.
    take_module "$root" brd "rd_nr=1 rd_size=1024"
    take_module "$root" ext4
    install "$here/init" "$root/init"
    printf '%q ' "$@" > "$root/command"
    (cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 > "$lab/root.cpio.gz"
}

# Names the programs that are missing, and fails if there are any.
tools() {
    local tool missing=()
    for tool in "${machine[0]}" busybox cpio modprobe xz zstd ${tool_prefix:+"${tool_prefix}gcc"}; do
        command -v $tool > /dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] || { echo "${missing[*]}"; return 1; }
}

run() {
    local missing
    missing=$(tools) || die "$missing missing; install all that is needed with: $0 setup"
    fetch_kernel
    build_root "$@"
    local share=()
    [ -z "${SHARE:-}" ] || share=(-virtfs "local,path=$SHARE,mount_tag=share,security_model=none")
    timeout "${TIMEOUT:-300}" nice "${machine[@]}" -accel tcg -smp 1 -m 1024 \
        -nodefaults -display none -no-reboot -serial stdio -kernel "$(find "$lab/kernel" -name 'vmlinuz*' -type f | head -n 1)" \
        -initrd "$lab/root.cpio.gz" -append "$append panic=-1 quiet loglevel=3 ${SHARE:+share}" \
        "${share[@]}" < /dev/null | sed -u 's/\r//g' | tee "$lab/console.log" || true
    # Without this line the guest did not get to the command's end.
    return "$(sed -n 's/^lab: exit \([0-9]*\)$/\1/p' "$lab/console.log" | grep . || echo 124)"
}

case ${1:-} in
    setup) setup ;;
    tools) tools ;;
    kernel) missing=$(tools) || die "$missing missing"; fetch_kernel ;;
    run) shift; [ $# -gt 0 ] || die "run what?"; run "$@" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
