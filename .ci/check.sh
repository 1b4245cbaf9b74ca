#!/usr/bin/env bash
# Formatting and lints, for the host's crates and for the guests'. `check.sh fmt` and
# `check.sh clippy` do one of the two.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$root"
for tool in fmt clippy; do
    cargo $tool --version >/dev/null 2>&1 ||
        missing "cargo $tool is missing" "rustup component add rustfmt clippy"
done
only=${1-}
outside=(sdk filters examples/guests conformance/guests conformance/fuzz)
host=$(rustc --version --verbose | sed -n 's/^host: //p')

if [[ $only != clippy ]]; then
    say "formatting"
    cargo fmt --all --check
    for workspace in "${outside[@]}"; do
        cargo fmt --all --check --manifest-path "$workspace/Cargo.toml"
    done
    note "as it should be"
fi
if [[ $only != fmt ]]; then
    .ci/setup.sh build
    say "clippy: workspace"
    cargo clippy --locked --workspace --all-targets -- -D warnings
    say "clippy: a proxy without the compiler"
    cargo clippy --locked --workspace --no-default-features -- -D warnings
    # Guests are looked at as host code: that needs no wasm target, and nothing is linked.
    for workspace in "${outside[@]}"; do
        say "clippy: $workspace"
        CARGO_TARGET_DIR=$target/sdk cargo clippy --locked --target "$host" --all-targets \
            --manifest-path "$workspace/Cargo.toml" -- -D warnings
    done
    say "clippy: sdk, all of it"
    CARGO_TARGET_DIR=$target/sdk cargo clippy --locked --workspace --all-features --all-targets \
        --manifest-path sdk/Cargo.toml -- -D warnings
fi
