"""The audit trail: changes of the configuration, approvals, kill switches, logins and keys."""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.cache import cache
from django.db.models.signals import post_save
from django.http import HttpRequest
from simple_history.models import HistoricalRecords
from simple_history.signals import post_create_historical_record

from trading.access.client_address import client_address
from trading.common.log_context import redact
from trading.models import ApiToken, AuditEntry, TradingControl

VERBS = {"+": "added", "~": "changed", "-": "deleted"}
ADMIN_VERBS = {1: "added", 2: "changed", 3: "deleted"}
WITHOUT_HISTORY = {"auth", "trading"}
"""Apps with models without history: their changes are taken from the log of the admin."""


AUDITED_REFUSALS = {
    "approver_is_requester",
    "code_device_needed",
    "code_missing",
    "code_needed",
    "confirmation_missing",
    "fresh_code_needed",
    "not_permitted",
    "other_user_needed",
    "scope_missing",
}
"""Codes of refusals that the audit trail records."""
REFUSAL_SECONDS = 60
"""Time in which the same refused attempt is recorded once, in seconds."""


def note(action: str, subject: str, detail: str = "", *, person: User | None = None) -> None:
    """Write an audit entry; user and address are taken from the current request, if there is one."""
    request: HttpRequest | None = getattr(HistoricalRecords.context, "request", None)
    user: User | AnonymousUser | None = person or getattr(request, "user", None)
    token = getattr(request, "auth", None)
    AuditEntry.objects.create(
        token=redact(str(token))[:100] if isinstance(token, ApiToken) else "",
        person=user.get_username()[:150] if user is not None and user.is_authenticated else "",
        address=client_address(request)[:45] if request is not None else "",
        action=action[:40],
        subject=redact(subject)[:200],
        detail=redact(detail),
    )


def note_refusal(code: str, subject: str) -> None:
    """Write an entry of an attempt that was refused for want of a permission, a code or a scope.

    The same attempt of the same user or token is recorded once a minute.
    """
    request: HttpRequest | None = getattr(HistoricalRecords.context, "request", None)
    if code not in AUDITED_REFUSALS or request is None or not request.user.is_authenticated:
        return
    token = getattr(request, "auth", None)
    who = f"token {token.pk}" if isinstance(token, ApiToken) else f"user {request.user.pk}"
    attempt = hashlib.sha256(f"{who} {code} {subject}".encode()).hexdigest()
    if cache.add(f"refused:{attempt}", 1, REFUSAL_SECONDS):
        note("refused", subject, code)


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


def _login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Write an entry of each failed login until the lockout, then one for each locked user name and address.

    An unauthenticated client must not be able to fill the table.
    """
    username = str(credentials.get("username") or "")
    if not getattr(request, "axes_locked_out", False):
        note("login failed", username)
    elif request is not None and _is_first(username, client_address(request)):
        note("login locked", username, "Further attempts during the lockout are not recorded.")


def _is_first(*keys: str) -> bool:
    """Return whether none of the keys was seen in the last `AXES_COOLOFF_TIME` by this process."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    added = [cache.add(f"locked:{hashlib.sha256(key.encode()).hexdigest()}", 1, seconds) for key in keys]
    return all(added)
