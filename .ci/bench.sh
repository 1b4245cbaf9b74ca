#!/usr/bin/env bash
# `bench.sh [OPTION...]`: what this proxy costs beside the real Envoy and nginx, in one table.
# `bench.sh --filters-table [OPTION...]`: size and CPU of the ready-made filters, as filters/COSTS.md.
# `bench.sh instructions [OPTION...]`: instructions of one hook call and of one request.
# The first builds what is installed (`make release`: half an hour) unless --skip-build or --proxy
# PATH is given. Both exit with the benchmark's status; `--help` shows its options.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export COFFERDAM_REQUIRE_ALL=1
cd "$root"
if [[ ${1-} == instructions ]]; then
    shift
    "$root/.ci/setup.sh" instructions
    say "quick-release build of what is counted"
    # Not incrementally, whatever else is: that cuts code into other units, in which other calls
    # are inlined, and counts would depend on what was built before.
    # Both at once: one after the other their dependencies would have other features, and a hundred
    # of them would be built twice.
    CARGO_INCREMENTAL=0 cargo build --locked --profile quick-release -p cofferdam-abi -p cofferdam \
        --features cofferdam-abi/testing,cofferdam-abi/compiler --example hook --example request
    drivers
    say "instructions, against conformance/benches/baseline.json"
    exec "$target/debug/bench-instructions" --examples "$target/quick-release/examples" "$@"
fi

export COFFERDAM_BENCH_COMMAND="make bench${*:+ BENCH='$*'}"
[[ ${1-} != --filters-table ]] || COFFERDAM_BENCH_COMMAND="make filters-table"
build=1
options=()
for option; do
    case $option in
    --skip-build) build= ;;
    --proxy | --proxy=* | --readme | --list | --help)
        build=
        options+=("$option")
        ;;
    *) options+=("$option") ;;
    esac
done
"$root/.ci/setup.sh" bench
"$root/filters/build.sh"
if [[ -n $build ]]; then
    "$root/.ci/release.sh"
fi
drivers
exec "$target/debug/bench" "${options[@]}"
