#!/bin/sh
# For scripts of existing installations: tools/schedule.sh list|add|remove|clear [-account ACCOUNT]
set -eu
usage="usage: $0 list|add|remove|clear [-account ACCOUNT]"
action="" account=""
while [ $# -gt 0 ]; do
    case "$1" in
        list | add | remove | clear) action="$1" && shift ;;
        -account | --account) account="${2:?-account needs an account id}" && shift 2 ;;
        -*) echo "$usage" >&2 && exit 2 ;;
        *) account="$1" && shift ;;
    esac
done
[ -n "$action" ] || { echo "$usage" >&2 && exit 2; }
cd "$(dirname "$0")/.."
python=".venv/bin/python"
[ -x "$python" ] || python="python3"
exec "$python" manage.py schedule "$action" ${account:+"$account"}
