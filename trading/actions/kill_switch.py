"""The kill switch: of everything, or of one account. What is at the broker already stays as it is."""

import logging

from django.db import transaction

from accounts.models import Account
from trading.journal.outbox import notify_operators
from trading.models import NotificationKind, TradingControl

logger = logging.getLogger("rebalancer.trading")


def set_paused(account: Account | None, *, paused: bool, reason: str, by: str) -> bool:
    """Pauses or resumes trading; who did it and why is kept in the history of what was changed.

    Args:
        account: the account; None means all of them.
        paused: whether no order may be sent.
        reason: for people.
        by: who asks.

    Returns:
        Whether that was a change.
    """
    with transaction.atomic():
        if account is not None:
            row: Account | TradingControl = Account.objects.select_for_update().get(pk=account.pk)
            fields = ["trading_paused", "updated_at"]
        else:
            TradingControl.objects.get_or_create(pk=1)
            row = TradingControl.objects.select_for_update().get(pk=1)
            row.reason = reason[:200] if paused else ""
            fields = ["trading_paused", "reason", "updated_at"]
        changed = row.trading_paused != paused
        row.trading_paused = paused
        row._change_reason = f"{by}: {reason}"[:100] if reason else by[:100]  # type: ignore[union-attr]  # noqa: SLF001 - django-simple-history's interface
        row.save(update_fields=fields)
        if changed:
            what = f"account {account.account_id}" if account is not None else "all accounts"
            words = (
                f"Trading is {'paused' if paused else 'on again'} for {what}, {by}{f': {reason}' if reason else ''}."
            )
            logger.warning("%s", words)
            notify_operators(NotificationKind.WARNING, "Trading paused" if paused else "Trading resumed", words)
    return changed
