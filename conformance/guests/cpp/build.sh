#!/usr/bin/env bash
# Builds the C++ guest into target/guests/cpp_guest.wasm. `zig c++` brings a C++ library for
# wasm; where there is no zig, PyPI's ziglang is put under target/.
. "$(dirname "${BASH_SOURCE[0]}")/../../../.ci/lib.sh"

here=$root/conformance/guests/cpp
requirement='ziglang>=0.15,<1'
work=$target/guests-cpp
out=$work/cpp_guest.wasm

say "C++ guest"
if ! up_to_date "$out" "$here"; then
    compiler=(zig)
    if ! have zig; then
        venv=$tools/zig
        [[ -x $venv/bin/python ]] && "$venv/bin/python" -m ziglang version >/dev/null 2>&1 ||
            venv_install zig "$requirement" ||
            lacks "zig is missing, and PyPI could not provide it" \
                "python3 python3-venv python3-pip" https://ziglang.org/download
        compiler=("$venv/bin/python" -m ziglang)
    fi
    note "zig $("${compiler[@]}" version)"
    mkdir -p "$work"
    # The SDK's flags: a library with an entry of its own, its allocator exported, no
    # exceptions. 64 KiB of stack, as wasi-sdk gives; zig's own default is 16 MiB.
    ZIG_GLOBAL_CACHE_DIR=$work/cache ZIG_LOCAL_CACHE_DIR=$work/cache "${compiler[@]}" c++ \
        --target=wasm32-wasi -mexec-model=reactor -std=c++20 -Oz -fno-exceptions -fno-rtti \
        -Wall -Wextra -Wno-c99-extensions -Wl,--export=malloc,--strip-all,-z,stack-size=65536 \
        -o "$out" "$here/guest.cpp"
    touch "$out"
fi
publish "$out" cpp_guest.wasm
note "in $guests"
