#!/usr/bin/env bash
# Installs, into a private prefix, a real Bitcoin full node (Bitcoin Knots from
# Debian unstable, run on its own libc) and two Electrum servers (ElectrumX, "e-x":
# 1.20 for protocols 1.4 to 1.6, 2.0 for 1.7).  Nothing is added to the system: apt
# runs with a private state, private sources and a private cache; packages are
# unpacked, not installed.  Idempotent: what is already there is left alone.
#
#   PEERS=DIR            where everything goes (default: leyden-peers in the user cache folder)
#   SUITES="sid forky"   suites to try, in order
#   FORCE=1              install again even if it is there
#   KEEP_DEBS=1          keep the downloaded .deb files and apt's lists
#   OFFLINE_ONLY=1       fail rather than download (to check a machine)
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PEERS=${PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/leyden-peers}
SUITES=${SUITES:-sid forky}
PYTHON=${PYTHON:-python3}
NODE=$PEERS/bitcoin
APTDIR=$PEERS/apt
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
say() { printf '[setup] %s\n' "$*"; }
die() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

# --- the mirror, as this machine's own apt is set up ---------------------------
mirror_uri() {
  # Ask apt itself.  RELEASE is what the source line names, so this works before
  # the first 'apt-get update' too.
  . /etc/os-release
  local u
  u=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
      awk -v c="${VERSION_CODENAME:?}" '$2 == c { print $1; exit }')
  [ -n "$u" ] || die "apt has no source for ${VERSION_CODENAME}; cannot derive the Debian mirror"
  printf '%s\n' "$u"
}

apt_opts() {
  cat <<OPTS
Dir::Etc::sourcelist "$APTDIR/$1/sources.list";
Dir::Etc::sourceparts "$APTDIR/$1/none";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$APTDIR/$1/none";
Dir::State::Lists "$APTDIR/$1/lists";
Dir::State::status "$APTDIR/$1/status";
Dir::Cache "$APTDIR/$1/cache";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
OPTS
}

# What the node needs at run time: the packages whose names begin with "lib",
# reached from it through Depends (the rest, debconf, systemd and such, serves
# the packaging, not the program).  An alternative's first choice is taken.
closure() {
  local todo="$1" seen=" " p d
  while [ -n "$todo" ]; do
    set -- $todo; p=$1; shift; todo="$*"
    case "$seen" in *" $p "*) continue ;; esac
    seen="$seen$p "
    for d in $(apt-cache show --no-all-versions "$p" |
               sed -n 's/^\(Pre-\)\{0,1\}Depends: //p' | tr ',' '\n' |
               sed 's/|.*//; s/(.*//; s/:any//; s/[[:space:]]//g' | grep '^lib' |
               grep -v '^libc-gconv-modules' || true); do
      case "$seen" in *" $d "*) ;; *) todo="$todo $d" ;; esac
    done
  done
  printf '%s\n' $seen
}

install_node() {
  local suite=$1 uri=$2 dir=$APTDIR/$1 pkgs
  say "trying suite $suite"
  mkdir -p "$dir/none" "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/debs"
  : > "$dir/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$uri" "$suite" > "$dir/sources.list"
  apt_opts "$suite" > "$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
  if id _apt >/dev/null 2>&1; then chown -R _apt "$dir/debs" "$dir/lists/partial"; fi
  apt-get -qq update || { unset APT_CONFIG; return 1; }
  apt-cache show --no-all-versions bitcoin-knots >/dev/null 2>&1 ||
    { say "no bitcoin-knots in $suite"; unset APT_CONFIG; return 1; }
  pkgs=$(closure bitcoin-knots)
  say "packages:" $pkgs
  (cd "$dir/debs" && rm -f ./*.deb && apt-get -qq download $pkgs) ||
    { unset APT_CONFIG; return 1; }
  unset APT_CONFIG
  rm -rf "$NODE.new"; mkdir -p "$NODE.new/root" "$NODE.new/bin"
  local deb
  for deb in "$dir"/debs/*.deb; do
    dpkg -x "$deb" "$NODE.new/root"
    printf '%s %s %s %s\n' "$(dpkg-deb -f "$deb" Package)" "$(dpkg-deb -f "$deb" Version)" \
      "$(sha256sum < "$deb" | cut -d' ' -f1)" "$(stat -c %s "$deb")" >> "$NODE.new/MANIFEST"
  done
  rm -rf "$NODE.new"/root/usr/share/{doc,man,locale,lintian,gdb,gcc} "$NODE.new"/root/etc
  local ld
  ld=$(cd "$NODE.new/root" && find . -name 'ld-linux-x86-64.so.2' -o -name 'ld-linux-aarch64.so.1' | head -1)
  [ -n "$ld" ] || die "no dynamic loader in the unpacked libc"
  ld=${ld#./}
  local prog
  for prog in bitcoind bitcoin-cli bitcoin-tx bitcoin-util bitcoin-wallet; do
    [ -x "$NODE.new/root/usr/bin/$prog" ] || continue
    cat > "$NODE.new/bin/$prog" <<WRAP
#!/bin/sh
# $prog of Debian $suite, on the libraries of that suite (exec keeps the pid).
here=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/root
libs=
for d in "\$here"/usr/lib/*-linux-gnu "\$here"/lib/*-linux-gnu; do
  [ -d "\$d" ] && libs=\$libs\${libs:+:}\$d
done
exec "\$here/$ld" --argv0 "\$0" --library-path "\$libs" "\$here/usr/bin/$prog" "\$@"
WRAP
    chmod 755 "$NODE.new/bin/$prog"
  done
  "$NODE.new/bin/bitcoind" -version | head -1 || die "bitcoind does not run"
  "$NODE.new/bin/bitcoin-cli" -version >/dev/null || die "bitcoin-cli does not run"
  rm -rf "$NODE"; mv "$NODE.new" "$NODE"
  say "node: $(awk '{s+=$4} END {printf "%.1f MB in %d packages", s/1e6, NR}' "$NODE/MANIFEST")"
}

mkdir -p "$PEERS"
exec 9> "$PEERS/.setup.lock"
flock 9   # two of us must not unpack into one place
if [ -z "${FORCE:-}" ] && "$NODE/bin/bitcoind" -version >/dev/null 2>&1; then
  say "node is there: $("$NODE/bin/bitcoind" -version | head -1)"
else
  [ -z "${OFFLINE_ONLY:-}" ] || die "node is not there"
  for tool in apt-get apt-cache dpkg dpkg-deb sha256sum awk; do
    command -v $tool >/dev/null || die "$tool is needed"
  done
  [ -r "$KEYRING" ] || die "no $KEYRING (package debian-archive-keyring)"
  uri=$(mirror_uri)
  done_=
  for s in $SUITES; do
    if install_node "$s" "$uri"; then done_=$s; break; fi
  done
  [ -n "$done_" ] || die "no suite of: $SUITES gave a node"
  if [ -z "${KEEP_DEBS:-}" ]; then rm -rf "$APTDIR"; fi
fi

# --- the Electrum servers, each in an environment of its own ------------------------
server() {   # server DIR VERSION LOCK
  local dir=$PEERS/$1 version=$2 lock=$HERE/$3
  local check="import plyvel, electrumx; assert electrumx.__version__ == '$version', electrumx.__version__"
  if [ -z "${FORCE:-}" ] && "$dir/bin/python" -c "$check" >/dev/null 2>&1; then
    say "ElectrumX $version is there"; return
  fi
  [ -z "${OFFLINE_ONLY:-}" ] || die "$dir is not there"
  "$PYTHON" -m venv --clear "$dir"
  "$dir/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
  "$dir/bin/python" -c "$check" || die "$dir does not pass: $check"
  say "ElectrumX $version installed"
}
server electrumx1-venv 1.20.0 electrumx1.lock
server electrumx-venv 2.0.0 electrumx2.lock
say "done"
