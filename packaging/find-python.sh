#!/usr/bin/env bash
# Prints a Python that Leyden runs on (3.11 to 3.13), or says what is missing.
set -euo pipefail
fits='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
for python in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
  [ -n "$python" ] || continue
  if "$python" -c "$fits" >/dev/null 2>&1; then
    "$python" -c 'import sys; print(sys.executable)'
    exit 0
  fi
done
echo "Leyden needs Python 3.11, 3.12 or 3.13 with venv (Debian: python3 and python3-venv)." >&2
exit 1
