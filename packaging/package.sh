#!/usr/bin/env bash
# Builds what people install: the program in one folder, dist/leyden, and on Debian a package of it, dist/leyden_*.deb.
#
# It works in a Python of its own (build/package), installed from the locks by hash, so that nothing of the tests or of
# this machine gets in. PYTHON names the interpreter that goes into the program.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
# Two builds of one commit are alike: times are the commit's, and sets have one order.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
PYTHON=${PYTHON:-$(packaging/find-python.sh)}
work=$root/build/package
venv=$work/venv
mkdir -p "$work"

if [ ! -e "$venv/stamp" ] || [ requirements.lock -nt "$venv/stamp" ] || [ packaging/package.lock -nt "$venv/stamp" ]; then
  rm -rf "$venv"
  "$PYTHON" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/package.lock
  touch "$venv/stamp"
fi

# The sources and their compiled kernel, apart from the work tree: what is there for development stays out.
rm -rf "$work/source"
mkdir -p "$work/source"
cp -R wallet resources packaging LICENSE README.md setup.py pyproject.toml "$work/source"
find "$work/source" \( -name __pycache__ -o -name '*.so' -o -name '*.pyd' \) -prune -exec rm -rf {} +
cd "$work/source"
if ! "$venv/bin/python" setup.py --quiet build_ext --inplace >"$work/kernel.log" 2>&1; then
  echo "[package] the kernels are not compiled ($work/kernel.log says why), and nobody gets a program without them" >&2
  exit 1
fi
# macOS and Windows want the icon within the program.
case "$(uname -s)" in
  Darwin) "$venv/bin/python" packaging/linux/icons.py resources/icons/leyden.svg build/icons build/icons/leyden.icns ;;
  MINGW* | MSYS*) "$venv/bin/python" packaging/linux/icons.py resources/icons/leyden.svg build/icons build/icons/leyden.ico ;;
esac
"$venv/bin/python" -m PyInstaller --noconfirm --log-level ERROR --distpath "$root/dist" --workpath "$work/frozen" \
  packaging/leyden.spec
cd "$root"
if [ "$(uname -s)" = Linux ] && command -v strip >/dev/null; then
  # What only a debugger reads: nothing of Qt, whose files bear no change.
  strip --strip-unneeded dist/leyden/_internal/libpython*.so.* dist/leyden/_internal/_wallycore*.so
fi
echo "[package] dist/leyden: $(du -sm dist/leyden | cut -f1) MB"
"$root/dist/leyden/leyden" --version

if command -v dpkg-deb >/dev/null; then
  packaging/linux/deb.sh dist/leyden dist "$venv/bin/python"
else
  echo "[package] no dpkg-deb here: no .deb is built"
fi
