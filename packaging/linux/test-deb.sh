#!/usr/bin/env bash
# test-deb.sh DEB PYTHON PICTURES: does the package install and start on a bare Debian 12?
#
# It makes a Debian 12 without anything (debootstrap), installs the package there with what it depends on and nothing
# else, looks whether a file misses a library, and has look.py start the program under Xvfb: the first window, a link to
# it, the map's process and the tour through the sandbox. Then it takes the package away and looks for what is left.
# PYTHON has PyQt6, to look at the screen. 0: all of it holds. 1: something does not. 3: it cannot be checked here, and
# why. The bare system is kept in build/package for the next time; MIRROR names a mirror of Debian other than
# debootstrap's own, and else that of this machine is taken.
set -euo pipefail
deb=$(readlink -f "$1")
python=$(readlink -f "$(dirname "$2")")/$(basename "$2")
pictures=$(readlink -m "$3")
here=$(readlink -f "$(dirname "$0")")
root=$(readlink -f "$here/../..")
kept=$root/build/package/bookworm-$(dpkg --print-architecture 2>/dev/null || uname -m).tar

say() { echo "[package-test] $*"; }
cannot() {
  echo "[package-test] cannot be checked here: $*" >&2
  exit 3
}
fail() {
  echo "[package-test] FAILED: $*" >&2
  exit 1
}

if [ -z "${LEYDEN_TEST_BASE:-}" ]; then
  [ -r "$deb" ] || cannot "there is no $deb"
  [ "$(uname -s)" = Linux ] || cannot "this is no Linux"
  [ "$(id -u)" -eq 0 ] || cannot "a root of another system is made by root only; run it as root"
  for tool in debootstrap Xvfb unshare chroot mount; do
    command -v "$tool" >/dev/null || cannot "$tool is missing (Debian: apt-get install debootstrap xvfb util-linux)"
  done
  mkdir -p "$pictures"
  LEYDEN_TEST_BASE=$(mktemp -d)
  export LEYDEN_TEST_BASE
  # What is mounted and what is started belongs to the namespaces of the second run, and goes with it.
  trap 'rm -rf --one-file-system "$LEYDEN_TEST_BASE"' EXIT
  unshare --mount --pid --fork --kill-child --propagation private true 2>/dev/null ||
    cannot "this machine gives no namespaces of our own (unshare)"
  unshare --mount --pid --fork --kill-child --propagation private "$0" "$deb" "$python" "$pictures"
  exit
fi

bare=$LEYDEN_TEST_BASE/root
if [ ! -e "$kept" ]; then
  mirror=${MIRROR:-}
  if [ -z "$mirror" ] && command -v apt-get >/dev/null; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 'Component: main' \
      2>/dev/null | head -1 || true)
  fi
  say "making a bare Debian 12"
  # shellcheck disable=SC2086  # no mirror is no word: debootstrap has one of its own
  debootstrap --variant=minbase bookworm "$bare" $mirror >"$LEYDEN_TEST_BASE/log" 2>&1 ||
    cannot "debootstrap fails: $(tail -1 "$LEYDEN_TEST_BASE/log")"
  mkdir -p "$(dirname "$kept")"
  tar -C "$bare" --exclude './var/cache/apt/archives/*.deb' -cf "$kept.new" .
  mv "$kept.new" "$kept"
else
  mkdir "$bare"
  tar -C "$bare" -xf "$kept"
fi

mount -t proc proc "$bare/proc"
mount --bind /dev "$bare/dev"
mkdir -p /tmp/.X11-unix "$bare/tmp/.X11-unix"
mount --bind /tmp/.X11-unix "$bare/tmp/.X11-unix"
cp /etc/resolv.conf "$bare/etc/resolv.conf"
# Nobody starts services in there.
printf '#!/bin/sh\nexit 101\n' >"$bare/usr/sbin/policy-rc.d"
chmod 755 "$bare/usr/sbin/policy-rc.d"
cp "$deb" "$bare/leyden.deb"
inside() { chroot "$bare" env DEBIAN_FRONTEND=noninteractive "$@"; }
apt() {
  inside apt-get -qq "$@" >"$LEYDEN_TEST_BASE/log" 2>&1 || return 1
}

say "installing the package with what it depends on"
apt update || cannot "the bare system reaches no mirror: $(tail -1 "$LEYDEN_TEST_BASE/log")"
before=$(inside dpkg-query -W -f '${Package}\n' | sort)
apt install -y --no-install-recommends /leyden.deb || fail "apt-get install: $(tail -3 "$LEYDEN_TEST_BASE/log")"
say "$(comm -13 <(echo "$before") <(inside dpkg-query -W -f '${Package}\n' | sort) | wc -l) packages were new to it"

missing=$(inside sh -c 'cd /usr/lib/leyden && find . -type f \( -name "*.so*" -o -name leyden \) -exec sh -c "
  LD_LIBRARY_PATH=/usr/lib/leyden/_internal ldd \"\$1\" 2>/dev/null | grep \"not found\" | sed \"s|^|\$1: |\"" - {} \;')
[ -z "$missing" ] || fail $'libraries are not found:\n'"$missing"
say "every library that it names is found"

inside useradd --create-home tester
PYTHONPATH=$root "$python" "$here/look.py" "$bare" "$pictures" || fail "see above; pictures: $pictures"

say "links and menus"
apt install -y --no-install-recommends desktop-file-utils || fail "apt-get install: $(tail -3 "$LEYDEN_TEST_BASE/log")"
inside desktop-file-validate /usr/share/applications/leyden.desktop || fail "the desktop entry is not valid"
for scheme in lightning bitcoin; do
  grep -q "^x-scheme-handler/$scheme=.*leyden.desktop" "$bare/usr/share/applications/mimeinfo.cache" ||
    fail "$scheme: links are not known to open Leyden"
done

apt purge -y leyden || fail "apt-get purge: $(tail -3 "$LEYDEN_TEST_BASE/log")"
left=$(find "$bare/usr" "$bare/etc" "$bare/var/lib/dpkg/info" -iname '*leyden*')
[ -z "$left" ] || fail $'this is left of it:\n'"$left"
say "taken away again, and nothing is left"
say "passed; pictures: $pictures"
