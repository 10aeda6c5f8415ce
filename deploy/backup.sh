#!/bin/sh
# Writes a backup of the database, and reads it once to its end.
#   deploy/backup.sh [FILE]         (default: backups/rebalancer-<UTC time>.dump)
set -eu
cd "$(dirname "$0")/.."
compose="${COMPOSE:-docker compose}"
file="${1:-backups/rebalancer-$(date -u +%Y%m%dT%H%M%SZ).dump}"
umask 077 # account numbers and positions are in it
mkdir -p "$(dirname "$file")"
trap 'rm -f "$file.part"' EXIT

# Written aside and renamed, so that a backup that was cut short never carries the name of a whole one.
$compose exec -T db pg_dump --username=rebalancer --format=custom rebalancer >"$file.part"
$compose exec -T db pg_restore --file=/dev/null <"$file.part"
mv "$file.part" "$file"
echo "Backed up to $file."
