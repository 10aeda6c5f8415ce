"""Measure the database and processor cost of an event."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def commits() -> int:
    """Return the number of transactions that the database has committed."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


def processor_seconds(group: int) -> float:
    """Return the processor seconds used by the running processes of a group and their ended children."""
    return sum(_used(fields) for fields in map(_fields, Path("/proc").glob("[0-9]*/stat")) if _group(fields) == group)


def memory_mb(group: int) -> float:
    """Return the memory of the running processes of a group in MB; memory that several processes share counts once."""
    stats = Path("/proc").glob("[0-9]*/stat")
    return sum(_proportional_kb(path.parent) for path in stats if _group(_fields(path)) == group) / 1024


def _proportional_kb(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:  # the process ended after it was listed
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().rpartition(")")[2].split()  # the process name before it may contain spaces
    except OSError:  # the process ended after it was listed
        return []


def _group(fields: list[str]) -> int | None:
    return int(fields[2]) if fields else None


def _used(fields: list[str]) -> float:
    return sum(map(int, fields[11:15])) / TICKS
