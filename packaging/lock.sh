#!/usr/bin/env bash
# Pins what Leyden, its tests and its test servers install, by version and hash. No index and no path is written
# down, so the locks serve whatever index a machine is set up with. Run it with Python 3.11, the oldest we support.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$PYTHON" -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pip-tools>=7.5,<8"
export CUSTOM_COMPILE_COMMAND="make lock"
compile() {
  "$tools/venv/bin/pip-compile" --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
    --annotation-style=line --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options "$@"
}
compile --extra kernel -o requirements.lock pyproject.toml
# The same versions again, and more: installing the second over the first changes nothing.
compile --extra kernel --extra test -c requirements.lock -o requirements-test.lock pyproject.toml
for version in 1 2; do
  (cd tests/real/regtest && compile -o "electrumx$version.lock" "electrumx$version.in")
done
(cd packaging && compile -o package.lock package.in)
(cd tests/real/ldk && compile -o nodejs.lock nodejs.in)
if grep -nE '(https?|file)://' requirements.lock requirements-test.lock packaging/*.lock tests/real/*/*.lock; then
  echo "a lock names a place to load from" >&2
  exit 1
fi
