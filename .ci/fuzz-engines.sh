#!/usr/bin/env bash
# The interpreter against native code: `fuzz-engines.sh [OPTION...]`, as `fuzz-engines --help`
# has them. What the fuzz targets found before is played first, on both engines.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$root/.ci/setup.sh" build
cd "$root"
drivers
corpus=$target/fuzz-engines/corpus
for name in events hostcalls; do
    rm -rf "${corpus:?}/$name"
    mkdir -p "$corpus/$name"
    tar -C "$corpus/$name" -xzf "$root/conformance/fuzz/corpus/$name.tar.gz"
done
exec "$target/debug/fuzz-engines" --corpus "$corpus" "$@"
