#!/usr/bin/env bash
# Makes or repairs .venv from requirements.lock. Run from the repository root; `make setup` does.
#
# In: a Python 3.11 or 3.12 with pip ($PYTHON, python3 unless told), and for a machine that does less the names of other
# locks ($LOCKS, `locks/worker.lock locks/ort.lock`). Out: .venv with everything pinned and this project installed
# editable. Package indexes are whatever pip and uv are configured to use.
set -euo pipefail

PYTHON=${PYTHON:-python3}
read -ra LOCKS <<<"${LOCKS:-requirements.lock}"
VENV=.venv
UNFINISHED=$VENV/.unfinished
export UV_PYTHON_DOWNLOADS=never          # the interpreter that is there
export VIRTUAL_ENV=$PWD/$VENV

say() { printf 'setup: %s\n' "$*" >&2; }
host_pip() { "$PYTHON" -m pip --python "$VENV/bin/python" --disable-pip-version-check install --quiet "$@"; }

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || {
    say "$PYTHON is not Python 3.11 or 3.12; name one: make setup PYTHON=python3.11"
    exit 1
}
"$PYTHON" -m pip --version >/dev/null 2>&1 || {
    say "$PYTHON has no pip; on Debian: apt-get install python3-pip"
    exit 1
}

# A killed installer leaves packages that look installed and are not whole, so a .venv that was left half-way goes.
# uv's cache makes the second attempt short.
if [[ -e $UNFINISHED ]] || ! "$VENV/bin/python" -c '' 2>/dev/null; then
    say "new environment in $VENV"
    rm -rf "$VENV"
    "$PYTHON" -m venv --without-pip "$VENV"   # Debian's Python cannot put pip in; the host's pip serves
fi
touch "$UNFINISHED"

say 'uv, the installer (a few seconds)'
host_pip --require-hashes --no-deps -r tools/installer.lock

say "packages of ${LOCKS[*]} (the first time up to 2.3 GB, one to three minutes)"
# Byte code is compiled here and not left to the first import: it halves the start of every TensorFlow process, also
# where PYTHONDONTWRITEBYTECODE is set.
locks=("${LOCKS[@]/#/-r$PWD/}")
if ! "$VIRTUAL_ENV/bin/uv" pip install --quiet --no-deps --require-hashes --compile-bytecode "${locks[@]}"; then
    say "uv could not install them; trying pip, which may know another index (several minutes)"
    host_pip --no-deps --require-hashes "${locks[@]}"
fi

say 'paritygate itself, editable'
"$VENV/bin/uv" pip install --quiet --no-deps --no-build-isolation --offline --editable .
"$VENV/bin/python" -m compileall -q paritygate.py exporters validators flows

rm "$UNFINISHED"
say "environment ready: $("$VENV/bin/python" --version) in $VENV"
