"""Executions that the broker has told of, kept once each, manual ones included."""

from collections.abc import Iterable

from brokers.broker_types import Execution
from trading.journal.leases import Lease, fenced
from trading.market_calendar import MarketCalendar
from trading.models import SeenExecution


def store_executions(lease: Lease, account_pk: int, executions: Iterable[Execution], calendar: MarketCalendar) -> int:
    """Keeps executions, each in the session that it belongs to; one that is known as it was corrected, fenced.

    Returns:
        How many were new or corrected.
    """
    rows = [
        SeenExecution(
            account_id=account_pk,
            execution_id=execution.execution_id,
            symbol=execution.symbol,
            quantity=execution.quantity,
            price_usd=execution.price_usd,
            executed_at=execution.executed_at,
            session_date=calendar.session_of(execution.executed_at).day,
            client_order_id=execution.client_order_id,
        )
        for execution in executions
    ]
    with fenced(lease):
        ids = [row.execution_id for row in rows]
        known = {
            execution_id: facts
            for execution_id, *facts in SeenExecution.objects.filter(
                account_id=account_pk, execution_id__in=ids
            ).values_list("execution_id", "quantity", "price_usd")
        }
        new = [row for row in rows if known.get(row.execution_id) != [row.quantity, row.price_usd]]
        SeenExecution.objects.bulk_create(
            new,
            update_conflicts=True,
            unique_fields=("account", "execution_id"),
            update_fields=("quantity", "price_usd"),
        )
    return len(new)
