"""Runs and events in the shapes that commands and the API print."""

from decimal import Decimal

from django.db.models import prefetch_related_objects

from trading.models import RebalanceRun, RunMode, StrategyEvent
from trading.models.run_documents import (
    AccountExecutionResult,
    CalculateRebalanceResult,
    ErrorLine,
    OrderLine,
    RebalanceResult,
    RunWarning,
    StrategyExecutionResult,
    TradeLine,
)


def rebalance_result(run: RebalanceRun) -> RebalanceResult:
    """A run, whole: what it would do, and what was done."""
    orders = tuple(
        OrderLine(
            client_order_id=order.client_order_id,
            broker_order_id=order.broker_order_id,
            symbol=order.symbol,
            quantity=int(order.quantity),
            filled_quantity=int(order.filled_quantity),
            average_price=_plain(order.average_price_usd),
            status=order.state,
        )
        for order in sorted(run.orders.all(), key=lambda order: order.sequence)  # as they were fetched beforehand
    )
    return RebalanceResult(**calculate_result(run).model_dump(), orders=orders)


def calculate_result(run: RebalanceRun) -> CalculateRebalanceResult:
    """What a run would do."""
    return CalculateRebalanceResult(
        run_id=run.run_id,
        account_id=run.account.account_id,
        mode="execute" if run.mode == RunMode.EXECUTE else "preview",
        state=run.state,
        error=_error(run),
        plan_hash=run.plan_hash,
        trades=tuple(
            TradeLine(
                symbol=trade["symbol"],
                quantity=trade["quantity"],
                order_type=trade["order_type"],
                price=_plain(trade["price"]),
                reason=trade["reason"],
            )
            for trade in run.result.get("trades", [])
        ),
        warnings=tuple(RunWarning.model_validate(warning) for warning in run.warnings),
        total_value=_plain(run.total_value_usd),
        cash_balance=_plain(run.cash_usd),
        residual_drift=_plain(run.residual_drift),
    )


def strategy_result(event: StrategyEvent) -> StrategyExecutionResult:
    """What an event came to, account by account."""
    prefetch_related_objects([event], "runs__account")  # one event can have a thousand
    return StrategyExecutionResult(
        event_id=event.pk,
        strategy=event.channel,
        state=event.state,
        reason=event.reason,
        accounts=tuple(
            AccountExecutionResult(
                account_id=run.account.account_id, run_id=run.run_id, state=run.state, error=_error(run)
            )
            for run in sorted(event.runs.all(), key=lambda run: run.pk)
        ),
    )


def event_line(event: StrategyEvent) -> dict[str, object]:
    """An event as `events --json` prints it."""
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


def _plain(value: object) -> Decimal | None:
    """The number without trailing zeros or exponent."""
    if value is None:
        return None
    number = Decimal(str(value))
    return number.quantize(Decimal("0.01")) if number == number.quantize(Decimal("0.01")) else number.normalize()
