"""Store the executions that the broker reports, each once; manual trades are included."""

from collections.abc import Iterable

from brokers.broker_types import Execution
from trading.journal.leases import Lease, fenced_transaction
from trading.market_calendar import MarketCalendar
from trading.models import SeenExecution


def store_executions(lease: Lease, account_pk: int, executions: Iterable[Execution], calendar: MarketCalendar) -> int:
    """Store executions with their sessions; return how many were new or corrected by the broker. Fenced."""
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
    with fenced_transaction(lease):
        stored = SeenExecution.objects.filter(
            account_id=account_pk, execution_id__in=[row.execution_id for row in rows]
        ).values_list("execution_id", "quantity", "price_usd")
        known = {execution_id: values for execution_id, *values in stored}
        new = [row for row in rows if known.get(row.execution_id) != [row.quantity, row.price_usd]]
        SeenExecution.objects.bulk_create(
            new,
            update_conflicts=True,
            unique_fields=("account", "execution_id"),
            update_fields=("quantity", "price_usd"),
        )
    return len(new)
