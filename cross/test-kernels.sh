#!/bin/bash
# Runs the tests of the convolution kernels (kernels/) on 64-bit ARM, interpreted by qemu-user, as several CPUs.
#
#   test-kernels.sh [CPU...]      default: cortex-a53 cortex-a72 cortex-a76 max
#
# The first two have no 8-bit dot products (as the Raspberry Pi 4), the others do (as the Pi 5 and the Jetson Orin). System packages:
# qemu-user and those of build.sh, which also says where the compiler comes from.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v qemu-aarch64 > /dev/null || { echo "test-kernels.sh: qemu-aarch64 is missing" >&2; exit 3; }
[ $# -gt 0 ] || set -- cortex-a53 cortex-a72 cortex-a76 max
for cpu in "$@"; do
    echo "== $cpu"
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu" CARGO_COMMAND=test \
        cross/build.sh aarch64 --release -p hgad-kernels --lib --tests
done
