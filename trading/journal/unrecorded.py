"""Orders at the broker that contradict the rows: without a row, or marked as lost and found later."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Account
from brokers.broker_types import Execution, OpenOrder, OrderResult, OrderType, TimeInForce
from trading.journal.installation import installation
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.order_updates import apply_updates
from trading.journal.orders import ORDER_ID_PREFIX, OrderView, views
from trading.journal.outbox import notify_operators
from trading.journal.outcomes import rewrite_outcomes
from trading.journal.runs import write_entry
from trading.market_calendar import MarketCalendar
from trading.models import (
    EventSource,
    EventState,
    ExecutedSession,
    NotificationKind,
    Order,
    OrderState,
    RebalanceRun,
    RunMode,
    RunState,
    RunStep,
    StrategyEvent,
    UnrecordedOrder,
    new_run_id,
)

ORDER_ID = re.compile(rf"{ORDER_ID_PREFIX}(?P<run>[a-z0-9]{{10}})-(?P<number>\d{{1,6}})(?:-(?P<sender>[a-z0-9]+))?")
RECORDED = "recorded_from_broker"
"""Code of a run whose orders were recorded from the broker's records."""

Shares = tuple[str, Decimal]
"""Symbol and signed quantity of an order."""


def known_orders(account_id: str, client_order_ids: Iterable[str]) -> list[OrderView]:
    """Return the account's orders with these client order ids."""
    return views(Order.objects.filter(account__account_id=account_id, client_order_id__in=list(client_order_ids)))


def record_unrecorded(lease: Lease, account_id: str, found: Mapping[str, Shares]) -> tuple[str, ...]:
    """Store orders without a row, and notify operators of new ones. Return the ids that are not resolved; fenced."""
    with fenced_transaction(lease):
        account = Account.objects.get(account_id=account_id)
        stored = UnrecordedOrder.objects.filter(account=account, client_order_id__in=found)
        new = found.keys() - set(stored.values_list("client_order_id", flat=True))
        UnrecordedOrder.objects.bulk_create(
            UnrecordedOrder(account=account, client_order_id=name, symbol=found[name][0], quantity=found[name][1])
            for name in sorted(new)
        )
        if new:
            notify_operators(
                NotificationKind.FAILURE,
                f"Orders without a record: {account_id}",
                f"The broker has {len(new)} orders of account {account_id} that are not in this database: "
                f"{describe(new)}. The account is not rebalanced until they are resolved: run `manage.py reconcile`.",
            )
        return tuple(stored.filter(resolved_at=None).order_by("id").values_list("client_order_id", flat=True))


def describe(client_order_ids: Iterable[str]) -> str:
    """Return the ids as text, each with its sender."""
    names = sorted(client_order_ids)
    own = installation().installation_id if names else ""
    return ", ".join(f"{name} ({_sender(name, own)})" for name in names)


def _sender(client_order_id: str, own: str) -> str:
    parts = ORDER_ID.fullmatch(client_order_id)
    if parts is None or parts["sender"] is None:
        return "unknown installation"
    return "this installation" if parts["sender"] == own else f"installation {parts['sender']}"


def unresolved(account_pk: int) -> list[str]:
    """Return the client order ids of the account's orders without a row that are not resolved."""
    rows = UnrecordedOrder.objects.filter(account_id=account_pk, resolved_at=None).order_by("id")
    return list(rows.values_list("client_order_id", flat=True))


def report_found(lease: Lease, account_id: str, orders: Sequence[OrderView]) -> None:
    """Report that the broker has orders that were marked as lost, or as rejected because absent; fenced."""
    with fenced_transaction(lease):
        for order in orders:
            write_entry(order.run_pk, "lost_order_found", f"{order} counted as absent and is at the broker.", "error")
        notify_operators(
            NotificationKind.FAILURE,
            f"Order marked as lost was found: {account_id}",
            f"The broker has these orders of account {account_id}, which were marked as lost or rejected because it "
            "did not have them. Lost ones may have been sent again: "
            f"{', '.join(f'{order} ({order.client_order_id}, {order.state})' for order in orders)}. Check the "
            "account's positions.",
        )


def record_order(
    lease: Lease,
    account_pk: int,
    client_order_id: str,
    open_order: OpenOrder | None,
    result: OrderResult | None,
    executions: Sequence[Execution],
    calendar: MarketCalendar,
) -> OrderView | None:
    """Make run, order, fills and executed session of an order at the broker that has no row; fenced.

    Returns:
        The order; None if the broker has none of these records.
    """
    source = open_order or (result if result is not None and result.quantity else None)
    if source is None and not executions:
        return None
    executed = sum((one.quantity for one in executions), Decimal(0))
    with fenced_transaction(lease):
        account = Account.objects.select_related("strategy").get(pk=account_pk)
        first_at = min((one.executed_at for one in executions), default=timezone.now())
        run, sequence = _run_of(account, client_order_id)
        order = Order.objects.create(
            run=run,
            account=account,
            sequence=sequence,
            client_order_id=client_order_id,
            symbol=source.symbol if source is not None else executions[0].symbol,
            quantity=source.quantity if source is not None else executed,
            order_type=open_order.order_type if open_order is not None else OrderType.LIMIT,
            limit_price_usd=open_order.limit_price if open_order is not None else None,
            time_in_force=TimeInForce.DAY,
            reason=RECORDED,
            state=OrderState.WORKING if open_order is not None else OrderState.UNKNOWN,
            broker_order_id=open_order.order_id if open_order is not None else "",
            submitted_at=first_at,
        )
        updates = [*executions, *((result,) if result is not None else ())]
        ExecutedSession.objects.bulk_create(
            [
                ExecutedSession(
                    account=account, run=run, session_date=calendar.session_of(first_at).day, first_order_at=first_at
                )
            ],
            ignore_conflicts=True,
        )
        write_entry(run.pk, RECORDED, f"{order}: recorded from the broker's records.", "warning")
        _resolve(account_pk, client_order_id, "Recorded from the broker's records.")
        after = apply_updates(lease, {order.pk: updates})[order.pk]
        rewrite_outcomes([run.pk])
        return after


def acknowledge(lease: Lease, account_pk: int, client_order_id: str, message: str) -> bool:
    """Resolve an order without a row manually. Return False if it is resolved already; fenced."""
    with fenced_transaction(lease):
        return _resolve(account_pk, client_order_id, message)


def _resolve(account_pk: int, client_order_id: str, message: str) -> bool:
    rows = UnrecordedOrder.objects.filter(account_id=account_pk, client_order_id=client_order_id, resolved_at=None)
    return bool(rows.update(resolved_at=Now(), resolution=message))


def _run_of(account: Account, client_order_id: str) -> tuple[RebalanceRun, int]:
    """Return the run of the order, which is made if it has no row either, and the order's number in it."""
    parts = ORDER_ID.fullmatch(client_order_id)
    run_id = parts["run"] if parts is not None else ""
    run = RebalanceRun.objects.filter(run_id=run_id).first()
    if run is None or run.account_id != account.pk:
        run = _new_run(account, run_id if run is None and run_id else new_run_id())
    used = set(run.orders.values_list("sequence", flat=True))
    number = int(parts["number"]) if parts is not None else 1
    return run, number if number not in used else max(used) + 1


def _new_run(account: Account, run_id: str) -> RebalanceRun:
    message = "Its orders were sent by another installation, or after the backup of this database."
    event = StrategyEvent.objects.create(
        source=EventSource.COMMAND,
        message_id=f"recorded-{run_id}",
        payload="{}",
        exec="rebalance",
        account_id=account.account_id,
        state=EventState.ACCEPTED,
        reason_code=RECORDED,
        reason=message,
        published_at=Now(),
    )
    return RebalanceRun.objects.create(
        run_id=run_id,
        account=account,
        event=event,
        connection_id=account.connection_id,
        strategy_name=account.followed_strategy.name if account.followed_strategy else "",
        mode=RunMode.EXECUTE,
        state=RunState.FAILED,
        step=RunStep.DONE,
        finished_at=Now(),
        error_code=RECORDED,
        error_message=f"{message} They were recorded from the broker's records.",
    )
