"""The kill switch, for all accounts or for one. Orders already submitted remain active, unless cancelled too."""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest

from accounts.models import Account
from trading.access.disarming import pause_record, resume_refusal
from trading.access.fresh_code import enter_code, require_fresh_code
from trading.errors import Refused
from trading.journal.outbox import notify_operators
from trading.journal.runs import request_cancel
from trading.models import NotificationKind, TradingControl

logger = logging.getLogger("rebalancer.trading")

PAUSE_PERMISSION = "trading.change_tradingcontrol"
"""The permission to pause trading, and to resume it."""
A_COMMAND = "a command"
BY_COMMAND = "by command"
"""Start of the note in the history of a pause by a command."""


@dataclass(frozen=True)
class Pause:
    """A pause of trading for all accounts."""

    reason: str
    by: str
    """User name, or `A_COMMAND`. Empty if the history no longer knows it."""
    at: datetime


def current_pause() -> Pause | None:
    """Return who paused trading for all accounts, when and why; None while trading is not paused."""
    control = TradingControl.objects.filter(trading_paused=True).first()
    if control is None:
        return None
    record = pause_record(control)
    if record is None:
        return Pause(control.reason, "", control.updated_at)
    user, note = record.history_user, record.history_change_reason or ""
    by = user.get_username() if user is not None else A_COMMAND if note.startswith(BY_COMMAND) else ""
    return Pause(control.reason, by, record.history_date)


def resume_by_user(request: HttpRequest, user: User, code: str) -> bool:
    """Resume trading for all accounts, as a user with the permission. Return whether it was paused.

    Raises:
        Refused: a code or another user is needed; trading is still paused.
    """
    if code and not enter_code(request, user, code):
        raise Refused("code_missing", "Trading is still paused. The two-factor code is invalid; enter the next one.")
    require_fresh_code(request, user)
    control = TradingControl.objects.filter(trading_paused=True).first()
    if control is not None and (refusal := resume_refusal(control, user)):
        raise refusal
    return set_paused(None, paused=False, reason="", by=f"by {user.get_username()}")


def set_paused(account: Account | None, *, paused: bool, reason: str, by: str, cancel_orders: bool = False) -> bool:
    """Pause or resume trading for an account, or for all if it is None. Return whether the state changed.

    The change history stores who requested it (`by`) and the reason. With `cancel_orders`, the runs in progress also
    cancel their working orders, within about a second.
    """
    with transaction.atomic():
        if account is not None:
            row: Account | TradingControl = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
            fields = ["trading_paused", "updated_at"]
        else:
            TradingControl.objects.get_or_create(pk=1)
            row = TradingControl.objects.select_for_update(no_key=True).get(pk=1)
            # A second pause without a reason keeps the reason of the first.
            row.reason = reason[:200] or (row.reason if row.trading_paused else "") if paused else ""
            fields = ["trading_paused", "reason", "updated_at"]
        changed = row.trading_paused != paused
        row.trading_paused = paused
        row._change_reason = f"{by}: {reason}"[:100] if reason else by[:100]  # type: ignore[union-attr]  # noqa: SLF001 - django-simple-history's interface
        row.save(update_fields=fields)
        if changed:
            title = f"Trading {'paused' if paused else 'resumed'}"
            scope = f"account {account.account_id}" if account is not None else "all accounts"
            text = f"{title} for {scope}, {by}{f': {reason}' if reason else ''}."
            logger.warning("%s", text)
            notify_operators(NotificationKind.WARNING, title, text)
    if paused and cancel_orders:
        # After the commit, and one transaction a run: locks of many runs would deadlock with the workers' writes.
        request_cancel(account, by)
    return changed
