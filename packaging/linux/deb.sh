#!/usr/bin/env bash
# deb.sh PROGRAM DIST PYTHON: a Debian package of the one-folder program in PROGRAM, written into DIST. PYTHON has PyQt6,
# which draws the icons.
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
install -m 644 "$root/README.md" "$root/CHANGELOG.md" "$tree/usr/share/doc/leyden/" 2>/dev/null ||
  install -m 644 "$root/README.md" "$tree/usr/share/doc/leyden/"
{
  echo "Leyden is free software under the GNU General Public License, version 3 or later."
  echo "The licence is in /usr/share/common-licenses/GPL-3 and, with those of its parts, in /usr/lib/leyden."
} >"$tree/usr/share/doc/leyden/copyright"

icons=$tree/usr/share/icons/hicolor
install -D -m 644 "$root/resources/icons/leyden.svg" "$icons/scalable/apps/leyden.svg"
QT_QPA_PLATFORM=offscreen "$python" "$here/icons.py" "$root/resources/icons/leyden.svg" "$icons"

# What Qt and the program load from the system, as Debian 12 calls it; newer releases provide the same names.
depends="libc6 (>= 2.34), libegl1, libgl1, libxkbcommon0, libfontconfig1, libglib2.0-0 | libglib2.0-0t64, libdbus-1-3"
depends+=", libxcb-cursor0, libxcb-icccm4, libxcb-image0, libxcb-keysyms1, libxcb-randr0, libxcb-render-util0"
depends+=", libxcb-shape0, libxcb-xinerama0, libxcb-xkb1, libxkbcommon-x11-0, libx11-xcb1, fonts-dejavu-core"

{
  echo "Package: leyden"
  echo "Version: $version"
  echo "Architecture: $architecture"
  echo "Maintainer: The Leyden developers <leyden@localhost>"
  echo "Installed-Size: $(du -sk "$tree/usr" | cut -f1)"
  echo "Depends: $depends"
  echo "Recommends: libpulse0, xdg-utils"
  echo "Section: net"
  echo "Priority: optional"
  echo "Description: Lightning wallet for the desktop"
  echo " Leyden keeps bitcoin on this computer and pays in a second over Lightning. The"
  echo " keys are yours alone; the chain comes from Electrum servers, so that no full"
  echo " node is needed. It has a network of play money inside, to practise with."
} >"$tree/DEBIAN/control"

# The menus and the links (lightning: and bitcoin:) know of it at once.
cat >"$tree/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if command -v update-desktop-database >/dev/null; then update-desktop-database -q /usr/share/applications || true; fi
if command -v gtk-update-icon-cache >/dev/null; then gtk-update-icon-cache -q -f /usr/share/icons/hicolor || true; fi
SCRIPT
cp "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
chmod -R u=rwX,go=rX "$tree/usr"

file=$dist/leyden_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z2 --build "$tree" "$file" >/dev/null
echo "[package] $(basename "$file"): $(du -m "$file" | cut -f1) MB"
