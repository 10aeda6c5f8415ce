#!/bin/sh
# Write a backup of the database and verify it by reading it completely.
#   deploy/backup.sh [FILE]         (default: backups/rebalancer-<UTC time>.dump)
set -eu
cd "$(dirname "$0")/.."
compose="${COMPOSE:-docker compose}"
file="${1:-backups/rebalancer-$(date -u +%Y%m%dT%H%M%SZ).dump}"
umask 077 # the backup contains account numbers and positions
mkdir -p "$(dirname "$file")"
trap 'rm -f "$file.part"' EXIT

# Write to a temporary file and rename it, so that a truncated backup never has the final name.
$compose exec -T db pg_dump --username=postgres --format=custom rebalancer >"$file.part"
$compose exec -T db pg_restore --file=/dev/null <"$file.part"
mv "$file.part" "$file"
echo "Backup written to $file."
