#!/usr/bin/env bash
# Sets up what the tests and the demo need beside Go, once: `setup.sh venv` the
# stock Crossbar.io node and Autobahn|Python in .cache/venv, `setup.sh js`
# autobahn-js in .cache/js, `setup.sh snap` what packs the agent's snap in
# .cache/bin, `setup.sh debian PART…` the programs of Debian that a part takes: race
# the C compiler without which Go has no race detector, crossbar Node.js, docker an
# engine and a registry, of which the tests start their own, pack what builds
# packages, packages what checks them as well.
#
# An environment is rebuilt when the pins, the interpreter or its place change,
# and when a build was interrupted: the stamp is written last.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pins=$root/shared/e2e/requirements.txt
venv=$root/.cache/venv
js=$root/.cache/js

fail() { printf '%s\n' "$@" >&2; exit 1; }

# install NAME...: Debian packages, where this user may. What comes with a service
# does not start it: nobody but the tests needs one.
install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "installing $* with apt-get" >&2
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" >&2
}

left_out() { case ",${CFC_WITHOUT:-}," in *,"$1",*) ;; *) false ;; esac; }

declare -A takes=(
  [race]="${CC:-gcc}:gcc ${CC:-gcc}:libc6-dev"
  [crossbar]="node:nodejs npm:npm"
  [docker]="dockerd:docker.io docker-registry:docker-registry"
  [pack]="mksquashfs:squashfs-tools"
  [packages]="mksquashfs:squashfs-tools shellcheck:shellcheck groff:groff-base systemd-analyze:systemd"
)

# debian PART...: all is installed, or asked for, at once: who is told one thing
# after another starts as often.
debian() {
  local part tool missing=() without=() fault=()
  for part; do
    ! left_out "$part" || { echo "left out by CFC_WITHOUT: $part"; continue; }
    case $part in docker | packages) [ "$(id -u)" = 0 ] || { without+=("$part"); continue; } ;; esac
    for tool in ${takes[$part]}; do
      command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
    done
  done
  [ ${#missing[@]} = 0 ] || install "${missing[@]}" ||
    fault+=("cannot go on without ${missing[*]}" "try: sudo apt-get install ${missing[*]}")
  [ ${#without[@]} = 0 ] ||
    fault+=("cannot test ${without[*]}: it takes root" "try: leave it out, CFC_WITHOUT=$(IFS=,; echo "${without[*]}")")
  [ ${#fault[@]} = 0 ] || fail "${fault[@]}"
}

# Of snapd nothing but the command `snap pack` is needed: it is taken out of the
# package, for installing that brings services, udev and AppArmor along.
snap() {
  local tmp
  [ ! -x "$root/.cache/bin/snap" ] || return 0
  mkdir -p "$root/.cache/bin"
  tmp=$(mktemp -d "$root/.cache/snapd.XXXXXX")
  (cd "$tmp" && { apt-get download -qq snapd || { apt-get update -qq && apt-get download -qq snapd; }; } &&
    dpkg-deb --fsys-tarfile snapd_*.deb | tar -x ./usr/bin/snap && mv usr/bin/snap "$root/.cache/bin/snap") >"$tmp/log" 2>&1 ||
    { cat "$tmp/log" >&2; rm -rf "$tmp"; fail "cannot get Debian's snapd, which packs the snap" "try: sudo apt-get update"; }
  rm -rf "$tmp"
}

python() {
  local p
  for p in python3.11 python3.12 python3.13 python3; do
    if command -v "$p" >/dev/null && "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$p"; return
    fi
  done
  fail "cannot set up the Crossbar.io node: no Python 3.11 or newer found" "try: sudo apt-get install python3 python3-venv"
}

create() { # create PYTHON: an empty environment with pip in it
  "$1" -m venv "$venv" >"$venv.log" 2>&1 && return
  install python3-venv && rm -rf "$venv" && "$1" -m venv "$venv" >"$venv.log" 2>&1 && return
  cat "$venv.log" >&2
  fail "cannot make a Python environment in $venv" "try: sudo apt-get install python3-venv"
}

venv() {
  ! left_out crossbar || return 0
  if [ -n "${CFC_CROSSBAR:-}" ]; then
    [ -x "$CFC_CROSSBAR" ] || fail "cannot use CFC_CROSSBAR: $CFC_CROSSBAR is not a program"
    return
  fi
  mkdir -p "$root/.cache"
  exec 9>"$venv.lock"
  flock 9
  local py want
  py=$(python)
  want="$(sha256sum <"$pins" | cut -d' ' -f1) $("$py" -c 'import sys; print(sys.version.split()[0], sys.base_prefix)') $venv"
  if [ -x "$venv/bin/crossbar" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$want" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  echo "setting up the Crossbar.io node in .cache/venv (once, about a minute)" >&2
  rm -rf "$venv"
  create "$py"
  local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps)
  # bjdata compiled against another NumPy than the one it then meets complains
  # whenever Autobahn is imported. Without its extension it has no reason to; pip
  # may have kept one that was built with it.
  { grep '^bjdata==' "$pins" | PYBJDATA_NO_EXTENSION=1 "${pip[@]}" --no-cache-dir -r /dev/stdin && "${pip[@]}" -r "$pins"; } >"$venv.log" 2>&1 ||
    { tail -n 20 "$venv.log" >&2; fail "cannot install the Crossbar.io node: see $venv.log"; }
  "$venv/bin/crossbar" version >"$venv.log" 2>&1 ||
    { tail -n 20 "$venv.log" >&2; fail "cannot start the Crossbar.io node that was installed: see $venv.log"; }
  printf '%s\n' "$want" >"$venv/stamp"
}

js() {
  ! left_out crossbar || return 0
  if [ -n "${CFC_AUTOBAHN_JS:-}" ]; then
    [ -d "$CFC_AUTOBAHN_JS/autobahn" ] || fail "cannot use CFC_AUTOBAHN_JS: $CFC_AUTOBAHN_JS has no autobahn"
    return
  fi
  debian crossbar
  mkdir -p "$root/.cache"
  exec 9>"$js.lock"
  flock 9
  local want
  want="$(cat "$root"/shared/e2e/autobahn/package*.json | sha256sum | cut -d' ' -f1) $(node --version)"
  [ "$(cat "$js/stamp" 2>/dev/null)" = "$want" ] && return
  echo "setting up autobahn-js in .cache/js (once, seconds)" >&2
  rm -rf "$js"
  mkdir "$js"
  cp "$root"/shared/e2e/autobahn/package*.json "$js/"
  # Nothing of it needs a compiler: what is optional is native code.
  (cd "$js" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error) >"$js.log" 2>&1 ||
    { tail -n 20 "$js.log" >&2; fail "cannot install autobahn-js: see $js.log"; }
  printf '%s\n' "$want" >"$js/stamp"
}

case "${1:-}" in
  debian | venv | js | snap) "$@" ;;
  *) fail "usage: setup.sh venv|js|snap, or debian PART…" ;;
esac
