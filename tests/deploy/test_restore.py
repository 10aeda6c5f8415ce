"""`deploy/restore.sh`, with a stand-in for `docker compose` that records what it is asked."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_IN = """#!/bin/sh
echo "$@" >>{log}
case "$*" in
*pg_restore*) cat ;;
*psql*) cat >{sql} ;;
*) exit {code} ;;
esac
"""


def restore(directory: Path, *, code: int = 0) -> "subprocess.CompletedProcess[str]":
    stand_in, backup = directory / "compose", directory / "backup.dump"
    stand_in.write_text(STAND_IN.format(log=directory / "log", sql=directory / "sql", code=code))
    stand_in.chmod(0o755)
    backup.write_text("SELECT 1;\n")
    command = [ROOT / "deploy" / "restore.sh", str(backup), "--replace"]
    return subprocess.run(command, env=os.environ | {"COMPOSE": str(stand_in)}, text=True, capture_output=True)


def test_restore_stops_what_writes_migrates_and_pauses_trading_in_this_order(tmp_path: Path) -> None:
    assert restore(tmp_path).returncode == 0
    read, stop, write, migrate, pause = (tmp_path / "log").read_text().splitlines()
    assert "pg_restore" in read and stop == "stop listener worker web" and "psql" in write
    assert migrate == "run --rm migrate"
    assert pause == "run --rm migrate python manage.py reconcile --restored"
    assert "SELECT 1;" in (tmp_path / "sql").read_text()


def test_restore_whose_services_cannot_be_stopped_replaces_nothing(tmp_path: Path) -> None:
    assert restore(tmp_path, code=1).returncode != 0
    assert not (tmp_path / "sql").exists()
