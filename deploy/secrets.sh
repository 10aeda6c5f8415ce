#!/bin/sh
# Create the folder of secrets that docker-compose.yaml mounts. Existing files are not changed.
#   deploy/secrets.sh [FOLDER]      (default: ./secrets)
set -eu
folder="${1:-secrets}"
mkdir -p "$folder"
# Only the owner can enter the folder. Its files are readable, because the users of the containers do not own them.
chmod 700 "$folder"

random() { python3 -c 'import secrets; print(secrets.token_urlsafe(48), end="")'; }
create() { # create NAME VALUE
    [ -e "$folder/$1" ] || printf '%s' "$2" >"$folder/$1"
    chmod 444 "$folder/$1"
}

create secret_key "$(random)"
create db_password "$(random)"
create database_url "postgres://rebalancer:$(cat "$folder/db_password")@db:5432/rebalancer"
for name in allocations_api_key realtime_api_key notification_urls tws_password vnc_password; do
    create "$name" ""
done

[ "$(cat "$folder/database_url")" = "postgres://rebalancer:$(cat "$folder/db_password")@db:5432/rebalancer" ] || {
    echo "$folder/database_url does not contain the password in $folder/db_password. Change one of them." >&2
    exit 1
}
echo "Secrets are in $folder. Keep a copy of secret_key and db_password, separate from the backups."
echo "An empty file means \"not used\". To set a secret: chmod u+w, write the value, chmod 444."
