#!/usr/bin/env bash
# Lays dist/Leyden.AppDir out from the program in dist/leyden (`make package`), starts its window under Xvfb and looks at
# it, and makes an AppImage of it where appimagetool is: on the path, or named by APPIMAGETOOL.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=${APPIMAGETOOL:-appimagetool}
[ -x dist/leyden/leyden ] || {
  echo "[appimage] there is no dist/leyden: run make package first" >&2
  exit 1
}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
folder=dist/Leyden.AppDir
rm -rf "$folder"
install -d "$folder/usr/lib" "$folder/usr/share/applications" "$folder/usr/share/icons/hicolor/scalable/apps"
cp -R dist/leyden "$folder/usr/lib/leyden"
install -m 644 packaging/linux/leyden.desktop "$folder/usr/share/applications/leyden.desktop"
install -m 644 resources/icons/leyden.svg "$folder/usr/share/icons/hicolor/scalable/apps/leyden.svg"
ln -s usr/share/applications/leyden.desktop "$folder/leyden.desktop"
ln -s usr/share/icons/hicolor/scalable/apps/leyden.svg "$folder/leyden.svg"
ln -s leyden.svg "$folder/.DirIcon"
ln -s usr/lib/leyden/leyden "$folder/AppRun"
said=$("$folder/AppRun" --version)
[ "$said" = "$version" ] || {
  echo "[appimage] the program says that it is version $said, not $version" >&2
  exit 1
}
command -v Xvfb >/dev/null || {
  echo "[appimage] Xvfb is missing (Debian: apt-get install xvfb): whether its window comes cannot be seen" >&2
  exit 3
}
# The Python that made it has PyQt6, to look at the screen.
PYTHONPATH=$PWD build/package/venv/bin/python packaging/linux/look.py --here "$folder/AppRun" dist/pictures/appimage
echo "[appimage] $folder: starts, version $said"
if ! command -v "$tool" >/dev/null; then
  echo "[appimage] no appimagetool here: no AppImage is made of it" >&2
  exit 3
fi
ARCH=$(uname -m) "$tool" "$folder" "dist/Leyden-$version-$(uname -m).AppImage"
