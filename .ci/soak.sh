#!/usr/bin/env bash
# Memory of one proxy after much of the same: streams, callouts, crashes. Exits with the
# driver's verdict. With arguments it does what they say: `--reload 60`, another configuration ten
# times a second under load; `--upgrade 60`, another process once a second; `--ending 120`, SIGTERM every two seconds;
# `--promote 60`, module after module that moves to native code; `--long 120`, reloads and an upgrade
# behind nginx and before h2load; `--flood`, floods of HTTP/2
# frames beside another client; `--idle`, ten thousand connections on which nothing moves.
# COFFERDAM_SOAK_PROFILE=dev builds faster; the verdict is about growth, so
# the profile does not matter to it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

profile=${COFFERDAM_SOAK_PROFILE:-quick-release}
"$root/.ci/setup.sh" build
"$root/filters/build.sh"
cd "$root"
built=debug
if [[ $profile != dev ]]; then
    cargo build --locked --profile "$profile" -p cofferdam --bin cofferdam
    built=$profile
fi
drivers
exec "$target/debug/soak" --cofferdam "$target/$built/cofferdam" "$@"
