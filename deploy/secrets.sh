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
url() { # url ROLE PASSWORD_FILE
    printf 'postgres://%s:%s@db:5432/rebalancer' "$1" "$(cat "$folder/$2")"
}
for name in db_password db_owner_password db_site_password; do
    create "$name" "$(random)"
done
create migrate_database_url "$(url rebalancer_owner db_owner_password)"
create database_url "$(url rebalancer db_site_password)"
for name in allocations_api_key realtime_api_key notification_urls tws_password vnc_password; do
    create "$name" ""
done

check() { # check URL_FILE ROLE PASSWORD_FILE
    [ "$(cat "$folder/$1")" = "$(url "$2" "$3")" ] || {
        echo "$folder/$1 does not contain the password in $folder/$3. Change one of them." >&2
        exit 1
    }
}
check migrate_database_url rebalancer_owner db_owner_password
check database_url rebalancer db_site_password
echo "Secrets are in $folder. Keep a copy of secret_key and the database passwords, separate from the backups."
echo "An empty file means \"not used\". To set a secret: chmod u+w, write the value, chmod 444."
