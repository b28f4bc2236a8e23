#!/usr/bin/env bash
# Builds packages from built programs: `build.sh debs` the three debs, `build.sh
# snap` the agent's snap, which `make packages` calls for every architecture, and
# `build.sh image` the relay's image, in the Docker Engine that `docker` speaks to.
#
#   BIN          directory of the programs
#   ARCH         what they are built for: amd64, arm64, … (default: this machine)
#   DESCRIPTION  what `git describe` says (default: it is asked)
#   OUT          where the packages go (default: dist)
#   IMAGE        the image's name; its tag is DESCRIPTION (default: cfc-relay)
#
# Two builds of one commit give the same bytes: every time in a package is the
# commit's (SOURCE_DATE_EPOCH), and modes and owners are not those of the checkout.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
fail() { printf '%s\n' "$@" >&2; exit 1; }

what=${1:-}
BIN=$(realpath "${BIN:-bin}")
OUT=$(realpath -m "${OUT:-dist}")
ARCH=${ARCH:-$(go env GOARCH)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null)} ||
  fail "cannot build packages: there is no commit to take the time of" "try: SOURCE_DATE_EPOCH=…"
DESCRIPTION=${DESCRIPTION:-$(git describe --tags --always --dirty)}
VERSION=$(packaging/version.sh "$DESCRIPTION" "$SOURCE_DATE_EPOCH")
export BIN ARCH VERSION SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$OUT"

# licenses PROGRAM: of Go and of all modules that are compiled into it.
licenses() {
  local modules path dir file
  mapfile -t modules < <(go version -m "$1" | awk '$1 == "dep" { print $2 }')
  { printf 'go %s\n' "$(go env GOROOT)"; go list -m -f '{{.Path}}@{{.Version}} {{.Dir}}' "${modules[@]}"; } |
    while read -r path dir; do
      for file in "$dir"/LICEN[SC]E* "$dir"/COPYING* "$dir"/NOTICE*; do
        [ ! -f "$file" ] || { printf '\n==== %s: %s ====\n\n' "$path" "${file##*/}"; cat "$file"; }
      done
    done
}

# documents NAME: what Debian wants of every package.
documents() {
  cp packaging/deb/copyright "$DOC/"
  licenses "$BIN/$1" | gzip -9n >"$DOC/licenses.gz"
  gzip -9n >"$DOC/changelog.gz" <<EOF
$1 ($VERSION) unstable; urgency=medium

  * Built from the commit of this time.

 -- $(sed -n 's/^maintainer: //p' "packaging/deb/$1/nfpm.yaml")  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
}

# native NAME: the program, or one that this machine can run in its place. It is
# asked for its manual page and its completions.
native() {
  [ "$ARCH" != "$(go env GOHOSTARCH)" ] || { echo "$BIN/$1"; return; }
  CGO_ENABLED=0 go build -trimpath -o "$work/native/" ./*/cmd/"$1" && echo "$work/native/$1"
}

debs() {
  local nfpm=$root/.cache/bin/nfpm-$NFPM_VERSION name program shell
  [ -x "$nfpm" ] || fail "cannot build debs: there is no $nfpm" "try: make packages"
  for name in cfc-agent cfc-relay cfc; do
    export DOC=$work/$name
    mkdir "$DOC"
    documents $name
    program=$(native $name)
    "$program" man | gzip -9n >"$DOC/manual.gz"
    [ $name != cfc ] || for shell in bash zsh fish; do "$program" completion $shell >"$DOC/completion.$shell"; done
    "$nfpm" package --packager deb --config "packaging/deb/$name/nfpm.yaml" --target "$OUT/${name}_${VERSION}_$ARCH.deb" >"$work/log" ||
      { cat "$work/log" >&2; fail "cannot build the deb $name"; }
  done
}

snap() {
  local file tree=$work/snap name=cfc-agent_${VERSION}_$ARCH.snap
  mkdir -p "$tree"/{bin,meta/hooks,share/doc}
  install -m 755 "$BIN/cfc-agent" "$tree/bin/"
  install -m 755 packaging/snap/hooks/* "$tree/meta/hooks/"
  sed -e "s/@VERSION@/$VERSION/; s/@ARCH@/$ARCH/" packaging/snap/snap.yaml >"$tree/meta/snap.yaml"
  # The same files as the deb's, only that all is in other places.
  for file in agent.yaml policy.yaml; do
    sed -e 's|/usr/share/doc/cfc-agent/|/snap/cfc-agent/current/share/doc/|; s|/var/lib/cfc-agent/|/var/snap/cfc-agent/common/|' \
      -e 's|systemctl restart|snap restart|' "packaging/etc/$file" >"$tree/share/$file"
  done
  cp shared/docs/CONFIG.md LICENSE "$tree/share/doc/"
  licenses "$BIN/cfc-agent" >"$tree/share/doc/licenses"
  chmod -R u=rwX,go=rX "$tree"
  find "$tree" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
  .cache/bin/snap pack --filename "$name" "$tree" "$OUT" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "cannot build the snap"; }
}

# image: its layer has the same bytes from the same commit, and all in it is root's
# but the relay's state.
image() {
  local tree=$work/image/root state=var/lib/cfc-relay tar
  command -v docker >/dev/null || fail "cannot build the image: there is no docker" "try: sudo apt-get install docker.io"
  DOC=$tree/usr/share/doc/cfc-relay
  mkdir -p "$DOC" "$tree"/{etc/cfc,usr/bin,$state}
  install -m 755 "$BIN/cfc-relay" "$tree/usr/bin/"
  documents cfc-relay
  chmod -R u=rwX,go=rX "$tree"
  chmod 700 "$tree/$state"
  cp packaging/image/Dockerfile "$work/image/"
  tar=(tar --file "$work/image/root.tar" --directory "$tree" --sort=name --numeric-owner --format=ustar "--mtime=@$SOURCE_DATE_EPOCH")
  "${tar[@]}" --create --owner=0 --group=0 --exclude="./$state" .
  "${tar[@]}" --append --owner=65532 --group=65532 "./$state"
  docker build --tag "${IMAGE:-cfc-relay}:$DESCRIPTION" --label "org.opencontainers.image.version=$DESCRIPTION" \
    --label org.opencontainers.image.licenses=Apache-2.0 "$work/image" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "cannot build the image"; }
  echo "${IMAGE:-cfc-relay}:$DESCRIPTION"
}

NFPM_VERSION=$(sed -n 's/^NFPM_VERSION *:= *//p' Makefile)
case $what in
  debs | snap | image) "$what" ;;
  *) fail "usage: build.sh debs|snap|image" ;;
esac
