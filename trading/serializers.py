"""Convert runs and events to the objects that commands and the API return."""

from decimal import Decimal

from django.db.models import prefetch_related_objects

from trading.models import RebalanceRun, RunMode, StrategyEvent
from trading.models.run_documents import (
    AccountExecutionResult,
    ErrorLine,
    OrderLine,
    RebalanceResult,
    RunWarning,
    StrategyExecutionResult,
    TradeLine,
)

SMALLEST = Decimal("0.000001")
"""Smallest step of a number in JSON and CSV: smaller ones would be written with an exponent."""


def rebalance_result(run: RebalanceRun) -> RebalanceResult:
    """Return a run with its trades and its orders."""
    return RebalanceResult(
        run_id=run.run_id,
        account_id=run.account.account_id,
        mode="execute" if run.mode == RunMode.EXECUTE else "preview",
        state=run.state,
        outcome=run.outcome,
        error=_error(run),
        plan_hash=run.plan_hash,
        trades=tuple(
            TradeLine(
                price=plain_decimal(trade["price"]),
                **{name: trade[name] for name in ("symbol", "quantity", "order_type", "reason")},
            )
            for trade in run.result.get("trades", [])
        ),
        warnings=tuple(RunWarning.model_validate(warning) for warning in run.warnings),
        total_value=plain_decimal(run.total_value_usd),
        cash_balance=plain_decimal(run.cash_usd),
        residual_drift=plain_decimal(run.residual_drift),
        orders=tuple(
            OrderLine(
                client_order_id=order.client_order_id,
                broker_order_id=order.broker_order_id,
                symbol=order.symbol,
                quantity=int(order.quantity),
                filled_quantity=int(order.filled_quantity),
                average_price=plain_decimal(order.average_price_usd),
                status=order.state,
            )
            for order in sorted(run.orders.all(), key=lambda order: order.sequence)  # uses prefetched orders
        ),
    )


def strategy_result(event: StrategyEvent) -> StrategyExecutionResult:
    """Return an event with the outcome for each account."""
    prefetch_related_objects([event], "runs__account")  # an event can have a thousand runs
    return StrategyExecutionResult(
        event_id=event.pk,
        strategy=event.channel,
        state=event.state,
        reason=event.reason,
        accounts=tuple(
            AccountExecutionResult(
                account_id=run.account.account_id,
                run_id=run.run_id,
                state=run.state,
                outcome=run.outcome,
                error=_error(run),
            )
            for run in sorted(event.runs.all(), key=lambda run: run.pk)
        ),
    )


def event_line(event: StrategyEvent) -> dict[str, object]:
    """Return an event as `events --json` prints it."""
    return {
        "id": event.pk,
        "source": event.source,
        "channel": event.channel,
        "message_id": event.message_id,
        "exec": event.exec,
        "account_id": event.account_id or None,
        "state": event.state,
        "reason": event.reason_code and f"{event.reason_code}: {event.reason}",
        "received_at": event.received_at.isoformat(),
    }


def _error(run: RebalanceRun) -> ErrorLine | None:
    return ErrorLine(code=run.error_code, message=run.error_message) if run.error_code else None


def plain_decimal(value: object, places: int = 2) -> Decimal | None:
    """Return a number with at least these decimals, and at most six, which are written without an exponent."""
    if value is None:
        return None
    number = Decimal(str(value)).quantize(SMALLEST) + 0  # no negative zero
    least = number.quantize(Decimal(1).scaleb(-places))
    return least if number == least else number.normalize()
