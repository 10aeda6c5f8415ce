#!/bin/sh
# Upgrade the installation to the checked-out version: back up, build, stop, migrate, start.
#   git pull && deploy/upgrade.sh
set -eu
cd "$(dirname "$0")/.."
compose="${COMPOSE:-docker compose}"

deploy/backup.sh
$compose build
# Before the migrations: a process of the old version may fail on the new tables. Workers finish the orders that they are
# submitting, and the new ones resume the runs.
running="$($compose ps --services --status running)"
$compose stop listener worker web
$compose run --rm migrate
# shellcheck disable=SC2086 # a list of services, those of profiles included
$compose up -d $running
