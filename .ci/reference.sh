#!/usr/bin/env bash
# Writes proxy/REFERENCE.md, the manual of the configuration, as the proxy itself prints it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$root/.ci/setup.sh" build
cd "$root"
drivers
"$target/debug/cofferdam" reference >"$target/REFERENCE.md"
mv "$target/REFERENCE.md" proxy/REFERENCE.md
