#!/bin/sh
# Install the system parts that the tests talk to, where that is possible (Debian, as root), and
# fetch Apache Kafka. Elsewhere the tests use what they find and say what they skipped.
set -eu
python=${1:-python3}

want=""
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || want="$want postgresql"
command -v chromium >/dev/null 2>&1 || want="$want chromium"
command -v java >/dev/null 2>&1 || want="$want default-jre-headless"
command -v mvn >/dev/null 2>&1 || want="$want maven"
command -v openssl >/dev/null 2>&1 || want="$want openssl"
command -v systemd-analyze >/dev/null 2>&1 || want="$want systemd"
command -v prometheus >/dev/null 2>&1 || want="$want prometheus"
command -v bwrap >/dev/null 2>&1 || want="$want bubblewrap"
command -v slurmctld >/dev/null 2>&1 || [ -x /usr/sbin/slurmctld ] || want="$want slurm-wlm munge"
/sbin/ldconfig -p 2>/dev/null | grep -q 'libseccomp\.so\.2' || want="$want libseccomp2"

if [ -n "$want" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "tests: installing Debian packages:$want"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $want; } >/dev/null
        then
            echo "tests: these could not be installed:$want (their tests are skipped)"
        fi
    else
        echo "tests: not here and cannot be installed by this user:$want (their tests are skipped)"
    fi
fi

if command -v mvn >/dev/null 2>&1; then
    "$python" -m tests.listeners.broker --if-absent ||
        echo "tests: Apache Kafka could not be fetched (its tests are skipped)"
fi
