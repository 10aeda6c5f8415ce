#!/bin/sh
# Puts a backup in place of the database, all of it or nothing.
#   deploy/restore.sh FILE --replace
set -eu
compose="${COMPOSE:-docker compose}"
file="${1:?usage: deploy/restore.sh FILE --replace}"
[ "${2:-}" = "--replace" ] || {
    echo "This replaces the whole database with $file. Say so: deploy/restore.sh $file --replace" >&2
    exit 2
}
[ -r "$file" ] || { echo "There is no readable file $file." >&2 && exit 2; }
file="$(cd "$(dirname "$file")" && pwd)/$(basename "$file")"
cd "$(dirname "$0")/.."

umask 077 # account numbers and positions are in it
sql="$(mktemp)"
trap 'rm -f "$sql"' EXIT

# Read to its end before anything is touched: a backup that was cut short fails here.
$compose exec -T db pg_restore --no-owner --file=- <"$file" >"$sql"
$compose stop listener worker web
# One transaction into a schema of nothing: tables that the backup does not know are gone afterwards too.
{
    echo 'BEGIN; DROP SCHEMA public CASCADE; CREATE SCHEMA public;'
    grep -v '^CREATE SCHEMA public;$' "$sql"
    echo 'COMMIT;'
} | $compose exec -T db psql --username=rebalancer --dbname=rebalancer --quiet --set=ON_ERROR_STOP=1 >/dev/null

cat <<'TEXT'
Restored; web, worker and listener are stopped. Before you start them:
 1. docker compose run --rm migrate     brings an older backup up to date
 2. Look at the broker: orders that were sent after the backup have no rows. Cancel what you do not want.
 3. docker compose up -d
TEXT
