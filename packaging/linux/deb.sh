#!/usr/bin/env bash
# deb.sh PROGRAM DIST PYTHON: a Debian package of the one-folder program in PROGRAM, written into DIST. PYTHON has PyQt6,
# which draws the icons. MAINTAINER is who publishes it, with an address; the times in it are SOURCE_DATE_EPOCH, where that
# is set.
set -euo pipefail
program=$(readlink -f "$1")
dist=$(readlink -f "$2")
python=$3
here=$(readlink -f "$(dirname "$0")")
root=$(readlink -f "$here/../..")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
architecture=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

install -d "$tree/usr/lib" "$tree/usr/bin" "$tree/usr/share/applications" "$tree/usr/share/doc/leyden" "$tree/DEBIAN"
cp -R "$program" "$tree/usr/lib/leyden"
ln -s ../lib/leyden/leyden "$tree/usr/bin/leyden"
install -m 644 "$here/leyden.desktop" "$tree/usr/share/applications/leyden.desktop"
install -m 644 "$root/README.md" "$root/CHANGELOG.md" "$tree/usr/share/doc/leyden/"
{
  echo "Leyden is free software under the GNU General Public License, version 3 or later."
  echo "The licence is in /usr/share/common-licenses/GPL-3 and, with those of its parts, in /usr/lib/leyden."
} >"$tree/usr/share/doc/leyden/copyright"

icons=$tree/usr/share/icons/hicolor
install -D -m 644 "$root/resources/icons/leyden.svg" "$icons/scalable/apps/leyden.svg"
QT_QPA_PLATFORM=offscreen "$python" "$here/icons.py" "$root/resources/icons/leyden.svg" "$icons"

# What the program loads from the system, as Debian 12 calls it; newer releases provide the same names. leyden.spec leaves
# these out of the folder, and test-deb.sh looks on a bare system whether a file names a library that is not found.
depends="libc6 (>= 2.36), libstdc++6, libgcc-s1, zlib1g, libexpat1, libglib2.0-0 | libglib2.0-0t64, libdbus-1-3"
depends+=", libgssapi-krb5-2, libfontconfig1, libfreetype6, libegl1, libgl1, libx11-6, libx11-xcb1, libxcb1, libxext6"
depends+=", libxrandr2, xkb-data"
# Wayland; the camera; printing.
depends+=", libwayland-client0, libwayland-cursor0, libwayland-egl1, libpulse0, libcups2 | libcups2t64"
# Certificates to know servers by; a typeface for scripts that Inter lacks; the desktop's tree of icons.
depends+=", ca-certificates, fonts-dejavu-core, hicolor-icon-theme"

{
  echo "Package: leyden"
  echo "Version: $version"
  echo "Architecture: $architecture"
  echo "Maintainer: ${MAINTAINER:-The Leyden developers <leyden@localhost>}"
  echo "Installed-Size: $(du -sk "$tree/usr" | cut -f1)"
  echo "Depends: $depends"
  echo "Recommends: desktop-file-utils"
  echo "Section: net"
  echo "Priority: optional"
  echo "Description: Lightning wallet for the desktop"
  echo " Leyden keeps bitcoin on this computer and pays in a second over Lightning. The"
  echo " keys are yours alone; the chain comes from Electrum servers, so that no full"
  echo " node is needed. It has a network of play money inside, to practise with."
} >"$tree/DEBIAN/control"

# No script runs at installation: menus, links and icons are read anew by triggers of the packages that read them.
chmod -R u=rwX,go=rX "$tree/usr"

file=$dist/leyden_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z2 --build "$tree" "$file" >/dev/null
echo "[package] $(basename "$file"): $(du -m "$file" | cut -f1) MB"
