#!/usr/bin/env bash
# Sees to the system libraries that Leyden needs from Debian (or a system made from it).
#
#   setup-system.sh window   what a Qt window needs
#   setup-system.sh test     that, and what the tests need
#
# Root: what is missing is installed with apt-get. Anybody else: the one command to run is printed, and the
# script fails. A system without dpkg: the libraries are named, and we go on.
set -euo pipefail

# Qt, also offscreen; a typeface to fall back on.
packages=(libegl1 libgl1 libxkbcommon0 libfontconfig1 libglib2.0-0 libdbus-1-3 fonts-dejavu-core)
# A window on an X server.
packages+=(libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
  libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 libxkbcommon-x11-0)

case "${1:-}" in
  window) ;;
  # An X server for the benchmarks; the keys of Debian's archive for the node; openssl for a server's certificate.
  test) packages+=(xvfb xauth debian-archive-keyring openssl ca-certificates) ;;
  *)
    echo "usage: setup-system.sh window|test" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "[system] this system has no dpkg; the window needs what Debian calls: ${packages[*]}" >&2
  exit 0
fi

is_there() {
  # Newer releases call some libraries NAMEt64.
  local name
  for name in "$1" "${1}t64"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ] || return 0
  done
  return 1
}
missing=()
for package in "${packages[@]}"; do
  is_there "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "[system] some system libraries are missing. Run this once, then repeat your command:" >&2
  echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "[system] installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=(apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}")
apt-get -qq -o DPkg::Lock::Timeout=300 update || echo "[system] apt-get update failed; trying with the lists at hand" >&2
"${install[@]}" >/dev/null
