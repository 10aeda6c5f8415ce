"""Format runs and events as text for the terminal."""

from decimal import Decimal

from django.utils.timezone import localtime

from trading.models import RebalanceRun, StrategyEvent
from trading.monitoring.accounts import AccountSummary
from trading.serializers import rebalance_result


def run_text(run: RebalanceRun) -> str:
    """Return a run with its trades or orders, its warnings and its error."""
    result = rebalance_result(run)
    name = f" ({run.account.name})" if run.account.name else ""
    lines = [f"{run.get_mode_display()} {result.run_id} of {result.account_id}{name}: {run.get_state_display()}"]
    if result.total_value is not None and result.cash_balance is not None:
        lines.append(f"  value ${result.total_value:,.2f}, cash ${result.cash_balance:,.2f}")
    for order in result.orders:
        price = f" at {_price(order.average_price)}" if order.average_price is not None else ""
        lines.append(f"  {_side(order.quantity)} {order.symbol:<6} {order.status}{price}")
    if not result.orders:
        lines += [
            f"  {_side(trade.quantity)} {trade.symbol:<6} limit {_price(trade.price)}  {trade.reason}"
            for trade in result.trades
        ]
    if not result.orders and not result.trades and result.error is None and run.is_finished:
        lines.append("  no trades needed")
    lines += [f"  warning: {warning.message}" for warning in result.warnings]
    if result.error is not None:
        lines.append(f"  {result.error.code}: {result.error.message}")
    return "\n".join(lines)


def account_text(account: AccountSummary) -> str:
    """Return an account with its standing as one line."""
    standing = account.standing
    drift = "" if standing.largest_drift_pp is None else f" {standing.largest_drift_pp:.1f} pp"
    parts = [
        f"{account.account_id:<12}",
        account.strategy or "no strategy",
        "" if account.enabled else "disabled",
        f"{standing.state}{drift}",
        "" if account.value_usd is None else f"${account.value_usd:,.2f}",
        "" if account.return_30d_percent is None else f"{account.return_30d_percent:+.2f}% in 30 days",
        "" if standing.as_of is None else f"read {localtime(standing.as_of):%Y-%m-%d %H:%M}",
        "" if account.next_run_at is None else f"next run {localtime(account.next_run_at):%Y-%m-%d %H:%M}",
    ]
    return "  ".join(part for part in parts if part) + f"\n  {standing.reason}"


def event_text(event: StrategyEvent) -> str:
    """Return an event as one line."""
    account = f" {event.account_id}" if event.account_id else ""
    duplicates = f"  came {event.duplicates + 1} times" if event.duplicates else ""
    reason = f"  ({event.reason})" if event.reason else ""
    runs = ", ".join(f"{run.account.account_id} {run.get_state_display().lower()}" for run in event.runs.all())
    return (
        f"{event.pk:>6}  {event.received_at:%Y-%m-%d %H:%M:%S}  {event.source:<8}  {event.channel}{account}  "
        f"{event.exec}  {event.state}{duplicates}{reason}{'  ' if runs else ''}{runs}"
    )


def _side(quantity: int) -> str:
    return f"{'SELL' if quantity < 0 else 'BUY':<4} {abs(quantity):>6}"


def _price(price: Decimal | None) -> str:
    return "market" if price is None else f"{price:.2f}"
