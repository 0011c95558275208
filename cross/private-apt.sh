# shellcheck shell=bash
# To be sourced. private_apt FOLDER "SUITE..." ARCHITECTURE... makes an apt that knows Debian's packages of other suites and
# architectures, from the mirror that this machine uses, and that changes nothing of this machine's own lists.
private_apt() {
    local apt=$1 suites=$2 mirror suite try
    shift 2
    mirror=$(grep -hE '^(deb |URIs:)' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 || true)
    mirror=${mirror%% *}
    [ -n "$mirror" ] || { echo "no Debian mirror in /etc/apt: what is fetched are Debian packages" >&2; return 3; }
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,parts}
    : > "$apt/status"
    local architectures
    architectures=$(IFS=,; echo "$*")
    for suite in $suites; do
        echo "deb [arch=$architectures signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done > "$apt/sources.list"
    cat > "$apt/apt.conf" <<EOF
APT::Architecture "$1";
APT::Architectures { $(printf '"%s"; ' "$@")};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/parts";
Dir::Etc::preferencesparts "$apt/parts";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
EOF
    export APT_CONFIG=$apt/apt.conf
    # A mirror that is being brought up to date gives lists that do not fit together.
    for try in 1 2 3; do
        if apt-get update -q > "$apt/log" 2>&1 && ! grep -q '^E:' "$apt/log"; then return; fi
        [ "$try" = 3 ] || sleep 20
    done
    cat "$apt/log" >&2
    echo "the package lists cannot be read" >&2
    return 3
}

# What packages need to run, without what only their installation needs.
dependencies() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
        grep '^[a-z]' | grep -vE '^(debconf|cdebconf|libc-bin|perl|dpkg|install-info|gcc-[0-9]+-base)' | sort -u
}
