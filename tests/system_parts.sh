#!/bin/sh
# Install the system parts that the tests talk to, where that is possible (Debian, as root).
# Elsewhere the tests use what they find and say what they skipped.
set -eu

want=""
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || want="$want postgresql"
command -v chromium >/dev/null 2>&1 || want="$want chromium"
[ -z "$want" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests: installing Debian packages:$want"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $want >/dev/null
else
    echo "tests: not here and cannot be installed by this user:$want (their tests are skipped)"
fi
