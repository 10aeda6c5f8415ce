"""The kill switch, for all accounts or for one. Orders already submitted remain active, unless cancelled too."""

import logging

from django.db import transaction

from accounts.models import Account
from trading.journal.outbox import notify_operators
from trading.journal.runs import request_cancel
from trading.models import NotificationKind, TradingControl

logger = logging.getLogger("rebalancer.trading")


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
            row.reason = reason[:200] if paused else ""
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
