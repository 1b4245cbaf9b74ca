#!/usr/bin/env bash
# Builds the proxy and becomes it, with the demo's configuration and its upstream.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

profile=${RUN_PROFILE:-quick-release}
cd "$root"
say "cofferdam (profile $profile)"
cargo build --locked --profile "$profile" -p cofferdam
say "cofferdam demo --config examples/demo.yaml; Ctrl-C ends it"
# `exec` all the way: this process becomes cargo and cargo becomes the proxy, so that a
# signal sent to this process id reaches the proxy itself.
[[ -z ${COFFERDAM_PID_FILE-} ]] || echo $$ >"$COFFERDAM_PID_FILE"
exec cargo run --quiet --locked --profile "$profile" -p cofferdam -- demo --config examples/demo.yaml
