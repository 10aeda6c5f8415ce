"""The audit trail: changes of the configuration, approvals, kill switches, logins and keys."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.http import HttpRequest
from simple_history.models import HistoricalRecords
from simple_history.signals import post_create_historical_record

from trading.access.client_address import client_address
from trading.common.log_context import redact
from trading.models import AuditEntry, TradingControl

VERBS = {"+": "added", "~": "changed", "-": "deleted"}
ADMIN_VERBS = {1: "added", 2: "changed", 3: "deleted"}
WITHOUT_HISTORY = {"auth", "trading"}
"""Apps with models without history: their changes are taken from the log of the admin."""


def note(action: str, subject: str, detail: str = "", *, person: User | None = None) -> None:
    """Write an audit entry; user and address are taken from the current request, if there is one."""
    request: HttpRequest | None = getattr(HistoricalRecords.context, "request", None)
    user: User | AnonymousUser | None = person or getattr(request, "user", None)
    AuditEntry.objects.create(
        person=user.get_username()[:150] if user is not None and user.is_authenticated else "",
        address=client_address(request)[:45] if request is not None else "",
        action=action[:40],
        subject=redact(subject)[:200],
        detail=redact(detail),
    )


def connect() -> None:
    """Connect the signals of the libraries."""
    post_create_historical_record.connect(_changed, dispatch_uid="audit.history")
    post_save.connect(_changed_in_admin, sender=LogEntry, dispatch_uid="audit.admin")
    user_logged_in.connect(_logged_in, dispatch_uid="audit.login")
    user_logged_out.connect(_logged_out, dispatch_uid="audit.logout")
    user_login_failed.connect(_login_failed, dispatch_uid="audit.login_failed")


def _changed(instance: Any, history_instance: Any, **_: Any) -> None:
    verb = VERBS[history_instance.history_type]
    kind = str(instance._meta.verbose_name)  # noqa: SLF001 - Django's name for it
    changes = field_changes(history_instance) if verb == "changed" else []
    detail = "; ".join(f"{change.field}: {change.old} → {change.new}" for change in changes)
    if verb == "changed" and not detail:
        return
    if isinstance(instance, TradingControl):
        kind, verb = "kill switch", "on" if instance.trading_paused else "off"
        detail = instance.reason
    note(f"{kind} {verb}", str(instance), detail, person=history_instance.history_user)


def field_changes(record: Any) -> list[Any]:
    """Return the changes of a history record against the one before: each has `field`, `old` and `new`."""
    before = record.prev_record
    return list(record.diff_against(before).changes) if before is not None else []


def _changed_in_admin(instance: LogEntry, **_: Any) -> None:
    kind = instance.content_type
    model = kind.model_class() if kind is not None else None
    if kind is None or model is None or kind.app_label not in WITHOUT_HISTORY or hasattr(model, "history"):
        return
    verb = ADMIN_VERBS[instance.action_flag]
    person = User.objects.filter(pk=instance.user_id).first()
    note(f"{kind.name} {verb}", instance.object_repr, instance.get_change_message(), person=person)


def _logged_in(user: User, **_: Any) -> None:
    how = "with a two-factor code" if getattr(user, "otp_device", None) else "with a password"
    note("logged in", user.get_username(), how, person=user)


def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        note("logged out", user.get_username(), person=user)


def _login_failed(credentials: dict[str, Any], **_: Any) -> None:
    note("login failed", str(credentials.get("username") or ""))
