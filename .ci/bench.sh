#!/usr/bin/env bash
# `bench.sh plain`: the plain proxy beside the real Envoy and nginx, CPU per request.
# `bench.sh instructions`: what one hook call and one request cost, in instructions.
# Both build the release profile (fat LTO: some minutes) and exit with the benchmark's status.
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
say "release build"
cargo build --locked --release -p cofferdam
export COFFERDAM_BIN=$target/release/cofferdam
say "bench-$what"
cargo run --quiet --locked --release -p cofferdam-conformance --bin "bench-$what" -- "$@"
