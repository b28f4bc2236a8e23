#!/bin/sh
# version.sh DESCRIPTION EPOCH: the packages' version of what `git describe
# --tags --always --dirty` says, where EPOCH is the commit's time. It sorts as the
# commits do, and is good for Debian and for a snap, which takes 32 characters.
#
#   v1.2.0             1.2.0
#   v1.2.0-rc.1        1.2.0~rc.1             before 1.2.0
#   v1.2.0-5-gabc1234  1.2.0+5.gabc1234       after 1.2.0, before 1.2.1
#   abc1234            0~20260102030405.abc1234   no tag yet: before all that have one
#   …-dirty            …+dirty
set -eu

fail() { echo "cannot make a version of '$1': $2" >&2; exit 1; }

[ $# = 2 ] || { echo "usage: version.sh DESCRIPTION EPOCH" >&2; exit 2; }
version=${1%-dirty}
dirty=${1#"$version"}
case $version in
  v[0-9]* | [0-9]*.*)
    version=$(printf '%s\n' "${version#v}" | sed -E 's/-([0-9]+)-(g[0-9a-f]+)$/+\1.\2/; s/-/~/; s/-/./g') ;;
  *)
    date=$(date -u -d "@$2" +%Y%m%d%H%M%S) || fail "$1" "'$2' is not a time"
    version="0~$date.$version" ;;
esac
version=$version${dirty:++dirty}
case $version in
  *[!A-Za-z0-9.+~]* | *[!A-Za-z0-9+~]) fail "$1" "'$version' has characters that no package's version may have" ;;
esac
[ ${#version} -le 32 ] || fail "$1" "'$version' has more than 32 characters"
printf '%s\n' "$version"
