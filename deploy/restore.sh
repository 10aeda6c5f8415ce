#!/bin/sh
# Replace the database with a backup, completely or not at all.
#   deploy/restore.sh FILE --replace
set -eu
compose="${COMPOSE:-docker compose}"
file="${1:?usage: deploy/restore.sh FILE --replace}"
[ "${2:-}" = "--replace" ] || {
    echo "This replaces the whole database with $file. To confirm, run: deploy/restore.sh $file --replace" >&2
    exit 2
}
[ -r "$file" ] || { echo "Cannot read $file." >&2 && exit 2; }
file="$(cd "$(dirname "$file")" && pwd)/$(basename "$file")"
cd "$(dirname "$0")/.."

umask 077 # the backup contains account numbers and positions
sql="$(mktemp)"
trap 'rm -f "$sql"' EXIT

# Read the whole backup before anything is changed. A truncated backup fails here.
$compose exec -T db pg_restore --no-owner --no-privileges --file=- <"$file" >"$sql"
$compose stop listener worker web
# One transaction into an empty schema, so that tables that are not in the backup are removed too.
{
    echo 'BEGIN; DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION rebalancer_owner;'
    echo 'GRANT USAGE ON SCHEMA public TO rebalancer; SET ROLE rebalancer_owner;'
    grep -v '^CREATE SCHEMA public;$' "$sql"
    echo 'COMMIT;'
} | $compose exec -T db psql --username=postgres --dbname=rebalancer --quiet --set=ON_ERROR_STOP=1 >/dev/null

cat <<'TEXT'
Restored. web, worker and listener are stopped. Before you start them:
 1. docker compose run --rm migrate     migrates an older backup
 2. Check the broker: orders submitted after the backup have no rows. Cancel those you do not want.
 3. docker compose up -d
TEXT
