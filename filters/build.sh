#!/usr/bin/env bash
# Builds every Rust guest (the filters here, the examples, the conformance suite's) into
# target/guests.
#
# A guest needs a standard library for wasm32-wasip1. The first of these ways that works:
#   1. that target of the installed toolchain
#   2. `rustup target add`
#   3. Debian's own toolchain, which brings the library's sources: for machines where rustup
#      can download nothing (installed when this runs as root on Debian)
# COFFERDAM_GUEST_TOOLCHAIN=rustup|debian allows only 1 and 2, or only 3.
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/lib.sh"

wasm=wasm32-wasip1
allowed=${COFFERDAM_GUEST_TOOLCHAIN:-any}
# Each way has a target directory of its own: two compilers would undo each other's work.
builds=$target/guests-build
debian_packages=(rustc-web cargo-web rust-web-src rust-web-llvm wasi-libc)

# Flags meant for the host's compiler have no place here; ours are in .cargo/config.toml.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS

has_target() { have rustc && [[ -d $(rustc --print target-libdir --target $wasm 2>/dev/null) ]]; }

add_target() {
    have rustup || return 1
    note "rustup target add $wasm"
    rustup target add $wasm >&2
}

has_debian() {
    [[ -x /usr/bin/cargo && -x /usr/bin/rustc && -d /usr/lib/wasm32-wasi ]] &&
        [[ -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library ]] &&
        is_newer "$(/usr/bin/rustc --version | cut -d ' ' -f 2)" 1.95
}

# The linker itself: `gcc-ld/wasm-ld` will not do, because rustc passes `-flavor`.
find_lld() {
    local compiler candidate
    for compiler in /usr/bin/rustc rustc; do
        for candidate in "$($compiler --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/rust-lld; do
            [[ -x $candidate ]] && echo "$candidate" && return
        done
    done
    command -v rust-lld
}

give_up() {
    local packages="sudo apt-get install -y ${debian_packages[*]}"
    if [[ $allowed != debian ]] && have rustup; then
        missing "no standard library for $wasm" "rustup target add $wasm"
    elif is_debian; then
        missing "no standard library for $wasm" "$packages"
    fi
    missing "no standard library for $wasm, and no rustup to get it with" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --target $wasm"
}

choose() {
    if [[ $allowed != debian ]] && has_target; then
        way=rustup
    elif [[ $allowed != rustup && -e $builds/debian ]] && has_debian; then
        way=debian # chosen before: rustup is not asked again
    elif [[ $allowed != debian ]] && add_target && has_target; then
        way=rustup
    elif [[ $allowed != rustup ]] &&
        { has_debian || { apt_install "${debian_packages[@]}" && has_debian; }; } && find_lld >/dev/null; then
        way=debian
    else
        give_up
    fi
}

say "Rust guests"
choose
export CARGO_TARGET_DIR=$builds/$way
cargo=(cargo --config "$root/filters/.cargo/config.toml")
flags=(--release --locked --target $wasm)
if [[ $way = debian ]]; then
    note "with Debian's toolchain; the first build includes the standard library"
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    CARGO_TARGET_WASM32_WASIP1_LINKER=$(find_lld)
    export CARGO_TARGET_WASM32_WASIP1_LINKER
    cargo=(/usr/bin/cargo --config "$root/filters/.cargo/config.toml"
        --config 'target.wasm32-wasip1.rustflags=["-L/usr/lib/wasm32-wasi", "-Clink-self-contained=no"]')
    flags+=(-Zbuild-std=std,panic_abort)
fi

# Not from inside a workspace: the configuration there would be applied twice.
cd "$root"
for workspace in filters examples/guests conformance/guests; do
    "${cargo[@]}" build "${flags[@]}" --manifest-path "$root/$workspace/Cargo.toml"
    for manifest in "$root/$workspace"/*/Cargo.toml; do
        grep -q cdylib "$manifest" || continue # a library of others
        crate=$(basename "$(dirname "$manifest")")
        publish "$CARGO_TARGET_DIR/$wasm/release/${crate//-/_}.wasm" "${crate//-/_}.wasm"
    done
done
note "in $guests"
