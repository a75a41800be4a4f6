#!/bin/sh
# Makes .venv and installs what is pinned. Nothing happens when the requirement files are what was installed last.
# PYTHON: the interpreter to use. TORCH_INDEX: where torch comes from (empty: like everything else). PIP_ARGS: more for pip.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv/.installed
wanted=$(cat requirements.txt requirements-text.txt requirements-mlflow.txt requirements-map.txt requirements-dev.txt | cksum)

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "Lethe needs Python 3.11 or newer; found none. Install it (https://www.python.org/downloads) or name it: make setup PYTHON=/path/to/python3" >&2
    return 1
}

make_venv() {
    python=$(find_python)
    "$python" -m venv --clear .venv || {
        rm -rf .venv
        echo "$python could not make .venv. On Debian and Ubuntu: apt install python3-venv; then try again." >&2
        return 1
    }
}

if [ -t 1 ]; then quiet=; else quiet=--quiet; fi
# Not compiled: Python does that when a module is first imported, and most never are.
install() { .venv/bin/python -m pip install $quiet --no-compile --disable-pip-version-check ${PIP_ARGS:-} "$@"; }

# The usual wheel of torch for Linux brings gigabytes of CUDA; the CPU wheel has the same version and satisfies the same pin.
install_torch() {
    if [ "$(uname)" = Linux ]; then default=https://download.pytorch.org/whl/cpu; else default=; fi
    index=${TORCH_INDEX-$default}
    pin=$(grep '^torch==' requirements.txt)
    have=torch==$(.venv/bin/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
    if [ "${have%%+*}" = "$pin" ] || [ -z "$index" ]; then return; fi
    if ! .venv/bin/python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$index/torch/" 2>/dev/null; then
        echo "$index cannot be reached; torch comes from where the other packages come from."
        return
    fi
    install --extra-index-url "$index" "$pin"
}

if new_enough .venv/bin/python && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
if ! new_enough .venv/bin/python; then make_venv; fi
echo "Installing into .venv; the first time takes a few minutes."
install_torch
install -r requirements-dev.txt
echo "$wanted" >"$stamp"
