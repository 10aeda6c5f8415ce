#!/bin/sh
# Makes the folder of secrets that docker-compose.yaml mounts. What is there is never changed.
#   deploy/secrets.sh [FOLDER]      (default: ./secrets)
set -eu
folder="${1:-secrets}"
mkdir -p "$folder"
# The folder keeps others out. The files in it are readable, since the containers' users own none of them.
chmod 700 "$folder"

random() { python3 -c 'import secrets; print(secrets.token_urlsafe(48), end="")'; }
keep() { # keep NAME VALUE
    [ -e "$folder/$1" ] || printf '%s' "$2" >"$folder/$1"
    chmod 444 "$folder/$1"
}

keep secret_key "$(random)"
keep db_password "$(random)"
keep database_url "postgres://rebalancer:$(cat "$folder/db_password")@db:5432/rebalancer"
for name in allocations_api_key realtime_api_key notification_urls tws_password vnc_password; do
    keep "$name" ""
done

[ "$(cat "$folder/database_url")" = "postgres://rebalancer:$(cat "$folder/db_password")@db:5432/rebalancer" ] || {
    echo "$folder/database_url does not hold the password of $folder/db_password; make the two agree." >&2
    exit 1
}
echo "Secrets are in $folder. Keep a copy of secret_key and db_password apart from the backups."
echo "An empty file means \"not used\"; to fill one: chmod u+w, write it, chmod 444."
