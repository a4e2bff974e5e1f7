#!/bin/sh
# Make the secrets of compose.yaml, once; those that are there stay.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
random() { od -An -N20 -tx1 /dev/urandom | tr -d ' \n'; }
test -e secrets/db_password || random > secrets/db_password
test -e secrets/tom_token || random > secrets/tom_token
printf 'db:5432:mmcoord:mmcoord:%s\n' "$(cat secrets/db_password)" > secrets/pgpass
# Compose mounts the file as it is: mmcoord runs as 10001, and libpq wants it for itself alone.
chmod 600 secrets/pgpass
chmod 644 secrets/db_password secrets/tom_token
if [ "$(id -u)" = 0 ]; then
    chown 10001:10001 secrets/pgpass
else
    echo "run once: sudo chown 10001:10001 $(pwd)/secrets/pgpass" >&2
fi
