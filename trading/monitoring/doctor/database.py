"""The database: answers, is up to date, takes writes, and has room."""

import shutil

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from trading.models import ProcessHeartbeat
from trading.monitoring.doctor.findings import Finding, ok, problem

CHECK = "database"
LEAST_FREE_BYTES = 500_000_000


def check() -> list[Finding]:
    """The database and the disk of `VAR_DIR`."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        return [problem(CHECK, f"It cannot be reached: {error}", "Start it, or correct DATABASE_URL.")]
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return [problem(CHECK, f"{len(missing)} migrations are not applied.", "Run `manage.py migrate`.")]
    return [_takes_writes(), _has_room()]


def _takes_writes() -> Finding:
    try:
        with transaction.atomic():
            ProcessHeartbeat.objects.create(name="doctor", kind="doctor", at=timezone.now())
            transaction.set_rollback(True)
    except DatabaseError as error:
        to_do = "Look for a full disk, a read-only file system, or a user without the right to write."
        return problem(CHECK, f"It takes no writes: {error}", to_do)
    return ok(CHECK, f"{connection.display_name} answers, is up to date and takes writes.")


def _has_room() -> Finding:
    free = shutil.disk_usage(settings.VAR_DIR).free
    words = f"{free / 1e9:.1f} GB are free where {settings.VAR_DIR} is."
    if free < LEAST_FREE_BYTES:
        return problem(CHECK, words, "Make room: when the disk is full, no order can be written, and none is sent.")
    return ok(CHECK, words)
