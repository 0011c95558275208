#!/bin/bash
# Puts a Rust compiler with the standard library of a board into a folder, for machines whose toolchain has no such library
# and that have no rustup to ask: Debian's newest backported one. Nothing is installed.
#
#   debian-rust.sh FOLDER [aarch64|armv7]          then: RUSTC=FOLDER/rustc cross/build.sh aarch64
#
# A second call finds it there and does nothing. It takes about 630 MB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# Of 32-bit ARM the backports have no compiler that is new enough.
case ${2:-aarch64} in
    aarch64) board=arm64 system=trixie suites="trixie trixie-backports" ;;
    armv7) board=armhf system=forky suites=forky ;;
    *) set -- ;;
esac
[ $# -ge 1 ] || { sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ ! -e "$folder/complete" ] || exit 0
. "$here/private-apt.sh"

host=$(dpkg --print-architecture)
private_apt "$folder/apt" "$suites" "$host" "$board"

# The newest version that there is for both.
versions() { apt-cache madison "$1" | awk '{print $3}' | sort -u; }
version=$(comm -12 <(versions "rustc:$host") <(versions "libstd-rust-dev:$board") | sort -V | tail -n 1)
[ -n "$version" ] || { echo "debian-rust.sh: no compiler for $host and $board" >&2; exit 3; }
first_dependency() { apt-cache show "$1" | sed -n "s/^Depends:.*\\($2[0-9.]*\\).*/\\1/p" | head -n 1; }
std=$(first_dependency "libstd-rust-dev:$host=$version" libstd-rust-)
llvm=$(first_dependency "$std:$host=$version" libllvm)

rm -rf "$folder/packages" "$folder/root"
mkdir -p "$folder/packages" "$folder/root"
cd "$folder/packages"
# shellcheck disable=SC2046
apt-get download -qq "rustc:$host=$version" "$std:$host=$version" "libstd-rust-dev:$host=$version" \
    "libstd-rust-dev:$board=$version" $(dependencies "$llvm:$host/$system" | sed "s/:$host\$//; s/\$/:$host/")
for package in *.deb; do dpkg -x "$package" "$folder/root"; done
cd "$folder"
rm -rf packages

# It runs with its own C library, so that an older system will do.
loader=$(find root -name 'ld-linux-*.so.*' | head -n 1)
driver=$(dirname "$(find root -name 'librustc_driver-*.so' | head -n 1)")
cat > rustc <<EOF
#!/bin/sh
exec "$folder/$loader" --library-path "$folder/$driver:$folder/$(dirname "$loader")" \\
    "$folder/root/usr/bin/rustc" --sysroot "$folder/root/usr" "\$@"
EOF
chmod +x rustc
./rustc --version
touch complete
