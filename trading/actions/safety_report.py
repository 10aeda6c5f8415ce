"""Report changes that disarm safety to all notification channels."""

import logging
from threading import local
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from simple_history.models import HistoricalRecords
from simple_history.signals import post_create_historical_record

from trading.access.audit import VERBS, field_changes
from trading.access.disarming import disarms, rule_of
from trading.journal.outbox import notify_operators
from trading.models import NotificationKind

logger = logging.getLogger("rebalancer.security")

TITLE = "Safety settings changed"
BY_COMMAND = "A command"
MAX_LINES = 20
"""Maximum number of changes that one message lists."""


class _Pending(local):
    """The changes of the current transaction that are not reported yet, with their history records."""

    def __init__(self) -> None:
        self.changes: list[tuple[Any, str]] = []


_pending = _Pending()


def report_change(who: User | None, *changes: str) -> None:
    """Write a message about changes, in the current transaction. `who` is None for a command."""
    name = who.get_username() if who is not None else BY_COMMAND
    lines = [f"{name}: {change[:300]}" for change in changes[:MAX_LINES]]
    if len(changes) > MAX_LINES:
        lines.append(f"{len(changes) - MAX_LINES} more changes are in the audit trail.")
    for line in lines:
        logger.warning("%s. %s", TITLE, line)
    notify_operators(NotificationKind.WARNING, TITLE, "\n".join(lines))


def is_reported_by_page(request: HttpRequest) -> bool:
    """Return whether the page of the request reports its change itself, in one message."""
    return getattr(request, "reports_safety_change", False)


def connect() -> None:
    """Report changes of models with a history that no page reports, such as those of commands and imports."""
    post_create_historical_record.connect(_changed, dispatch_uid="safety_report.history")


def _changed(instance: Any, history_instance: Any, **_: Any) -> None:
    rule = rule_of(type(instance))
    request: HttpRequest | None = getattr(HistoricalRecords.context, "request", None)
    # `set_paused` gives a reason, and sends its own message.
    if rule is None or history_instance.history_change_reason or (request and is_reported_by_page(request)):
        return
    verb = VERBS[history_instance.history_type]
    changes = field_changes(history_instance) if verb == "changed" else []
    if disarms(rule, instance, verb=verb, changes={change.field: change.new for change in changes}):
        detail = ", ".join(f"{change.field}: {change.old} → {change.new}" for change in changes)
        kind = instance._meta.verbose_name  # noqa: SLF001 - Django's name for it
        _pending.changes.append((history_instance, f"{kind} {instance} {verb} {detail}".strip()))
        transaction.on_commit(_flush)


def _flush() -> None:
    """Report the collected changes of a committed transaction in one message. Changes that were rolled back are not."""
    collected, _pending.changes = _pending.changes, []
    committed = [
        (record.history_user, text)
        for record, text in collected
        if type(record).objects.filter(pk=record.pk, history_date=record.history_date).exists()
    ]
    if committed:
        report_change(committed[0][0], *(text for _, text in committed))
