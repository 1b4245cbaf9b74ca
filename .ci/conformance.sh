#!/usr/bin/env bash
# The conformance suite: `conformance.sh [--check] [--host NAME] [--case ID]`. Without --check
# and --case it writes conformance/RESULTS.md. `conformance --help` explains the options.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" envoy "*) "$root/.ci/setup.sh" bench ;;
*) "$root/.ci/setup.sh" build ;;
esac
"$root/filters/build.sh"
"$root/examples/guests-go/build.sh"
"$root/examples/guests-as/build.sh"
"$root/conformance/guests/cpp/build.sh"
cd "$root"
drivers
exec "$target/debug/conformance" "$@"
