"""Runs and events as text, for a terminal."""

from decimal import Decimal
from typing import TextIO

from trading.models import RebalanceRun, StrategyEvent
from trading.results import rebalance_result


def print_run(run: RebalanceRun, out: TextIO) -> None:
    """A run with its trades or orders, warnings, and why it ended as it did."""
    result = rebalance_result(run)
    name = f" ({run.account.name})" if run.account.name else ""
    out.write(
        f"{run.get_mode_display()} {result.run_id} of {result.account_id}{name}: {run.get_state_display()}\n"
    )
    if result.total_value is not None and result.cash_balance is not None:
        out.write(f"  value ${result.total_value:,.2f}, cash ${result.cash_balance:,.2f}\n")
    if result.orders:
        for order in result.orders:
            at = f" at {_price(order.average_price)}" if order.average_price is not None else ""
            out.write(f"  {_side(order.quantity)} {order.symbol:<6} {order.status}{at}\n")
    elif result.trades:
        for trade in result.trades:
            out.write(
                f"  {_side(trade.quantity)} {trade.symbol:<6} limit {_price(trade.price)}  {trade.reason}\n"
            )
    elif result.error is None and run.is_finished:
        out.write("  nothing needs trading\n")
    for warning in result.warnings:
        out.write(f"  warning: {warning.message}\n")
    if result.error is not None:
        out.write(f"  {result.error.code}: {result.error.message}\n")


def print_event(event: StrategyEvent, out: TextIO) -> None:
    """An event in a line."""
    account = f" {event.account_id}" if event.account_id else ""
    reason = f"  ({event.reason})" if event.reason else ""
    out.write(
        f"{event.pk:>6}  {event.received_at:%Y-%m-%d %H:%M:%S}  {event.source:<8}  {event.channel}{account}  "
        f"{event.exec}  {event.state}{reason}\n"
    )


def _side(quantity: int) -> str:
    return f"{'SELL' if quantity < 0 else 'BUY':<4} {abs(quantity):>6}"


def _price(price: Decimal | None) -> str:
    return "market" if price is None else f"{price:.2f}"
