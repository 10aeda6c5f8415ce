#!/bin/sh
# For scripts of existing installations: tools/rebalance.sh -account ACCOUNT [-exec rebalance|print-rebalance]
set -eu
account="" command="print-rebalance"
while [ $# -gt 0 ]; do
    case "$1" in
        -account | --account) account="${2:?-account needs an account id}" && shift 2 ;;
        -exec | --exec) command="${2:?-exec needs rebalance or print-rebalance}" && shift 2 ;;
        *) echo "usage: $0 -account ACCOUNT [-exec rebalance|print-rebalance]" >&2 && exit 2 ;;
    esac
done
[ -n "$account" ] || { echo "usage: $0 -account ACCOUNT [-exec rebalance|print-rebalance]" >&2 && exit 2; }
cd "$(dirname "$0")/.."
python=".venv/bin/python"
[ -x "$python" ] || python="python3"
exec "$python" manage.py rebalance "$account" --exec "$command"
