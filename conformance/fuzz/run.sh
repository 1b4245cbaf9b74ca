#!/usr/bin/env bash
# run.sh [--keep] [SECONDS [TARGET...]]: each fuzz target for that long (default 600), all of
# them by default. Fails on a crash, a leak, an input that takes over a second, or 1 GiB of
# memory; what failed is left in target/fuzz/NAME-*.
#
# Runs begin with the inputs in corpus/NAME.tar.gz. With --keep, what was found is merged with
# them and packed again: commit it.
#
# libFuzzer without cargo-fuzz and without a nightly toolchain: the coverage flags below are
# ordinary -C flags, and the targets count leaks themselves.
. "$(dirname "${BASH_SOURCE[0]}")/../../.ci/lib.sh"

here=$root/conformance/fuzz
keep=
if [[ ${1-} = --keep ]]; then
    keep=1
    shift
fi
seconds=${1:-600}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(pairs property hostcalls events)
have c++ || lacks "a C++ compiler is missing, libFuzzer needs one" g++ "https://gcc.gnu.org or https://clang.llvm.org"

say "fuzz targets"
work=$target/fuzz
export CARGO_TARGET_DIR=$work CARGO_INCREMENTAL=0
export RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing'
triple=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and macros are compiled without the flags.
cargo build --release --locked --target "$triple" --manifest-path "$here/Cargo.toml"

status=0
for name in "${targets[@]}"; do
    say "fuzz $name for $seconds s"
    binary=$work/$triple/release/$name
    corpus=$work/corpus/$name
    mkdir -p "$corpus"
    [[ ! -e $here/corpus/$name.tar.gz ]] || tar -C "$corpus" -xzf "$here/corpus/$name.tar.gz"
    log=$work/$name.log
    end=$((SECONDS + seconds))
    while ((SECONDS < end)); do
        if "$binary" "$corpus" -max_total_time=$((end - SECONDS)) -timeout=1 -rss_limit_mb=1024 \
            -max_len=4096 -artifact_prefix="$work/$name-" -print_final_stats=1 >"$log" 2>&1; then
            break
        fi
        # The limit is on the clock of a machine that may be busy: an input that is slow is so
        # again, alone.
        slow=$(sed -n 's/.*Test unit written to \(.*-timeout-.*\)/\1/p' "$log")
        if [[ -n $slow ]] && "$binary" "$slow" -timeout=1 >>"$log" 2>&1; then
            note "an input took over a second once and does not by itself: on with it"
            rm -f "$slow"
            continue
        fi
        tail -n 60 "$log"
        status=1
        break
    done
    grep -E '^(Done|stat::(average|slowest|peak))' "$log" || true
    if [[ -n $keep ]]; then
        merged=$work/merged/$name
        rm -rf "$merged"
        mkdir -p "$merged" "$here/corpus"
        "$binary" -merge=1 "$merged" "$corpus" >>"$log" 2>&1
        tar -C "$merged" --sort=name --owner=0 --group=0 --mtime=@0 -cf - . | gzip -9n \
            >"$here/corpus/$name.tar.gz"
        note "kept $(find "$merged" -type f | wc -l) inputs in corpus/$name.tar.gz"
    fi
done
exit $status
