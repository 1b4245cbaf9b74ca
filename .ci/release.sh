#!/usr/bin/env bash
# `release.sh`: the proxy as it is to be installed, in target/release/cofferdam: optimised for what
# it does. It is built to count what runs, has traffic of every kind (`soak --train`), and is built
# again by those counts; that is a tenth less CPU for a request. Half an hour on two cores.
#
# Without an llvm-profdata as old as the compiler's own LLVM there are no counts to be read: then
# it is built without, and says so. COFFERDAM_REQUIRE_ALL=1 makes that an error.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$root/.ci/setup.sh" build
cd "$root"
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=llvm-$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')

# profdata: prints the program that reads counts of this compiler's, if there is one.
profdata() {
    local candidate
    for candidate in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" \
        "llvm-profdata-${llvm#llvm-}" "/usr/lib/$llvm/bin/llvm-profdata"; do
        command -v "$candidate" && return
    done
    return 1
}

if ! merge=$(profdata); then
    say "llvm-profdata is missing (it reads what a trained build has counted)"
    apt_install "$llvm" || true
    merge=$(profdata) || merge=
fi
if [[ -z $merge ]]; then
    [[ ${COFFERDAM_REQUIRE_ALL-} != 1 ]] ||
        lacks "llvm-profdata is missing, and COFFERDAM_REQUIRE_ALL=1" "$llvm" "rustup component add llvm-tools"
    note "still missing: this release takes a tenth more CPU. To have it trained: rustup component add llvm-tools, or install $llvm"
    exec cargo build --locked --release -p cofferdam
fi

# Both builds with the same profile and for the same target: names in the counts have both in them.
export CARGO_INCREMENTAL=0
counts=$target/trained
# build FLAGS...: for a named target, so that what runs in the compiler is neither counted nor built again.
build() {
    RUSTFLAGS="${RUSTFLAGS-} $*" cargo build --locked --release -p cofferdam --target "$host" --target-dir "$counts"
}

say "a release that counts what runs"
# Where it would count by itself nothing can be written. That is for its compiler, a process of its
# own, that may write no file and has no environment that would say otherwise.
build -Cprofile-generate=/dev/null

# Counts hold for the code that made them. Their name is part of what cargo goes by: with other
# counts everything is built again.
counting=$counts/$host/release/cofferdam
read -r sum _ < <(sha256sum "$counting")
counted=$counts/${sum:0:16}.profdata
if [[ ! -e $counted ]]; then
    say "traffic of every kind"
    "$root/.ci/setup.sh" test
    "$root/filters/build.sh"
    drivers
    rm -rf "$counts/raw" "$counts"/*.profdata
    LLVM_PROFILE_FILE=$counts/raw/%m_%p.profraw \
        "$target/debug/soak" --cofferdam "$counting" --train 3
    "$merge" merge -o "$counted.new" "$counts"/raw/*.profraw
    mv "$counted.new" "$counted"
fi

say "the release, by what was counted"
build -Cprofile-use="$counted"
mkdir -p "$target/release"
cp "$counts/$host/release/cofferdam" "$target/release/.cofferdam.$$"
mv "$target/release/.cofferdam.$$" "$target/release/cofferdam"
note "$target/release/cofferdam: $(wc -c <"$target/release/cofferdam") bytes"
