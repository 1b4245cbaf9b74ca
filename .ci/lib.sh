# Sourced by the project's bash scripts: where things are, and how what is missing is got.
#
# Nothing is installed outside target/ except by apt-get, on Debian, as root.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target = /* ]] || target=$PWD/$target
# Exported absolute: the scripts change folders.
export CARGO_TARGET_DIR=$target
# Guests always go here: example configurations and tests name them by this path.
guests=$root/target/guests
# What this project got for itself: tools/NAME is a venv, tools/bin holds links into them.
tools=$target/tools
case ":$PATH:" in
*":$tools/bin:"*) ;;
*) export PATH="$tools/bin:$PATH" ;;
esac

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# missing WHAT COMMAND: the one way out when something cannot be got here.
missing() {
    printf '\nerror: %s\nType this, then start again:\n\n    %s\n\n' "$1" "$2" >&2
    exit 69
}

# lacks WHAT PACKAGES WHERE: the same for a program that Debian has in packages, and others under
# names that are not known here: they are told where it comes from.
lacks() {
    ! is_debian || missing "$1" "sudo apt-get install -y $2"
    printf '\nerror: %s\nInstall it with what installs programs here, or from\n\n    %s\n\nthen start again.\n\n' "$1" "$3" >&2
    exit 69
}

is_debian() { [[ -e /etc/debian_version ]] && have apt-get; }
is_root() { [[ $(id -u) = 0 ]]; }

# apt_install PACKAGE...: false where that cannot be done (not Debian, not root, apt-get fails).
apt_install() {
    is_debian && is_root || return 1
    note "apt-get install $*"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    export DEBIAN_FRONTEND=noninteractive
    if [[ -z ${apt_is_fresh-} ]]; then
        "${apt[@]}" update >&2 || return 1
        apt_is_fresh=1
    fi
    "${apt[@]}" install -y --no-install-recommends "$@" >&2
}

# venv_install NAME REQUIREMENT PROGRAM...: a PyPI package in a venv of its own under
# target/, with links to its programs in tools/bin. False where that cannot be done.
venv_install() {
    local name=$1 requirement=$2 venv=$tools/$1 program
    shift 2
    note "pip install $requirement (in $venv)"
    if ! { python3 -m venv --clear "$venv" && [[ -x $venv/bin/pip ]]; } >/dev/null 2>&1; then
        apt_install python3 python3-venv python3-pip && python3 -m venv --clear "$venv" || return 1
    fi
    "$venv/bin/pip" install --quiet "$requirement" >&2 || return 1
    mkdir -p "$tools/bin"
    for program in "$@"; do
        ln -sf "$venv/bin/$program" "$tools/bin/$program"
    done
    hash -r
}

# is_newer A B: version A is at least B.
is_newer() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) = "$2" ]]; }

# drivers: builds the programs of conformance/ and the proxy in the dev profile, whose panics run the
# destructors that end peers. With everything the tests are built with, so that what they compiled
# is used again: another choice of packages would give the dependencies other features.
drivers() {
    (cd "$root" && cargo build --quiet --locked --workspace --all-targets)
}

# publish FILE NAME: puts a guest in its place, touching nothing when it is the same.
publish() {
    mkdir -p "$guests"
    if ! cmp -s "$1" "$guests/$2"; then
        cp "$1" "$guests/.$2.$$"
        mv "$guests/.$2.$$" "$guests/$2"
        printf '   %-18s %8d bytes\n' "$2" "$(wc -c <"$guests/$2")"
    fi
}

# up_to_date FILE SOURCE...: FILE is there and nothing under the sources is newer.
up_to_date() {
    local file=$1
    shift
    [[ -e $file && -z $(find "$@" -type f -newer "$file" -print -quit) ]]
}
