#!/usr/bin/env bash
# `bench.sh plain`: the plain proxy beside the real Envoy and nginx, CPU per request.
# `bench.sh instructions`: what one hook call and one request cost, in instructions.
# The first builds the release profile (fat LTO: some minutes). Both exit with the
# benchmark's status.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

what=${1-}
case $what in
plain | instructions) ;;
*)
    echo "usage: $0 plain|instructions [ARGUMENT...]" >&2
    exit 64
    ;;
esac
shift
export COFFERDAM_REQUIRE_ALL=1
"$root/.ci/setup.sh" bench
"$root/filters/build.sh"
cd "$root"
# The drivers are built in the dev profile: they end their peers in destructors, which an
# aborting panic would skip.
driver() { cargo run --quiet --locked -p cofferdam-conformance --bin "$@"; }

if [[ $what == plain ]]; then
    say "release build"
    cargo build --locked --release -p cofferdam
    say "CPU per request"
    driver bench-plain -- --cofferdam "$target/release/cofferdam" "$@"
    say "idle connections"
    driver bench-plain -- --cofferdam "$target/release/cofferdam" --idle
    exit
fi

say "quick-release build of what is counted"
cargo build --locked --profile quick-release -p cofferdam-abi --features testing --example hook
cargo build --locked --profile quick-release -p cofferdam --example request
say "instructions of one hook call"
driver bench-instructions -- --name hook --program "$target/quick-release/examples/hook" \
    --args-a 1000 --args-b 11000 --count 10000 "$@"
say "instructions of one whole request through one header filter"
driver bench-instructions -- --name request --program "$target/quick-release/examples/request" \
    --args-a 200 --args-b 1200 --count 1000 "$@"
