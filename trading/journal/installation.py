"""The identity of the installation, and the detection of a database that was restored from a backup."""

import secrets
from pathlib import Path

from django.db import connection
from django.utils import timezone

from trading.journal.outbox import notify_operators
from trading.models import Installation, NotificationKind
from trading.models.runs import RUN_ID_ALPHABET

ID_LENGTH = 6


def installation() -> Installation:
    """Return the row of this installation, with an id of its own from the first call on."""
    new_id = "".join(secrets.choice(RUN_ID_ALPHABET) for _ in range(ID_LENGTH))
    return Installation.objects.get_or_create(pk=1, defaults={"installation_id": new_id})[0]


def database_marker() -> str:
    """Return what identifies the stored table and is not part of a backup; empty if the database has no such thing."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), %s::regclass::oid",
                [Installation._meta.db_table],  # noqa: SLF001 - Django's name for it
            )
            return ":".join(map(str, cursor.fetchone()))
    path = Path(str(connection.settings_dict["NAME"]))
    return f"inode:{path.stat().st_ino}" if connection.vendor == "sqlite" and path.exists() else ""


def awaits_reconciliation() -> bool:
    """Return whether the database was restored, and not every account has been reconciled since."""
    row = Installation.objects.filter(pk=1).first()
    return row is not None and (row.restored_at is not None or row.database_marker not in {"", database_marker()})


def detect_restore() -> bool:
    """Record and report that the database was restored from a backup, if it was. Return whether it awaits that now."""
    row, marker = installation(), database_marker()
    if row.database_marker == marker:
        return row.restored_at is not None
    if row.database_marker == "":
        Installation.objects.filter(pk=1, database_marker="").update(database_marker=marker)
        return row.restored_at is not None
    mark_restored()
    return True


def mark_restored() -> None:
    """Record that the database was restored. No account trades until `mark_reconciled`."""
    row, marker = installation(), database_marker()
    unknown = Installation.objects.filter(pk=1, database_marker=row.database_marker)
    if unknown.update(database_marker=marker, restored_at=timezone.now()):
        notify_operators(
            NotificationKind.FAILURE,
            "Database restored: trading is paused",
            "Orders sent after the backup have no rows. Run `manage.py reconcile`, which reads every enabled account "
            "at its broker and records them. Trading continues after that.",
        )


def mark_reconciled() -> None:
    """Record that every account was reconciled with its broker."""
    Installation.objects.filter(pk=1).update(database_marker=database_marker(), restored_at=None)
