"""Format runs and events as text for the terminal."""

from decimal import Decimal

from calculator.formats import money, points, signed_percent
from calculator.formats import price as price_text
from trading.common.formats import instant_text, new_york_time
from trading.journal.outcomes import orders_text, outcome_label
from trading.models import RebalanceRun, StrategyEvent
from trading.monitoring.accounts import AccountSummary
from trading.serializers import rebalance_result


def run_text(run: RebalanceRun) -> str:
    """Return a run with its trades or orders, its warnings and its error."""
    result = rebalance_result(run)
    name = f" ({run.account.name})" if run.account.name else ""
    lines = [f"{run.get_mode_display()} {result.run_id} of {result.account_id}{name}: {outcome_label(run)}"]
    if progress := orders_text(run):
        lines.append(f"  {progress}")
    if result.total_value is not None and result.cash_balance is not None:
        lines.append(f"  value {money(result.total_value)}, cash {money(result.cash_balance)}")
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
    drift = "" if standing.largest_drift_pp is None else f" {points(standing.largest_drift_pp)}"
    parts = [
        f"{account.account_id:<12}",
        account.strategy or "no strategy",
        "" if account.enabled else "disabled",
        f"{standing.state}{drift}",
        "" if account.value_usd is None else money(account.value_usd),
        "" if account.return_30d_percent is None else f"{signed_percent(account.return_30d_percent, 2)} in 30 days",
        "" if standing.as_of is None else f"read {new_york_time(standing.as_of)}",
        "" if account.next_run_at is None else f"next run {new_york_time(account.next_run_at)}",
    ]
    return "  ".join(part for part in parts if part) + f"\n  {standing.reason}"


def event_text(event: StrategyEvent) -> str:
    """Return an event as one line."""
    account = f" {event.account_id}" if event.account_id else ""
    duplicates = f"  came {event.duplicates + 1} times" if event.duplicates else ""
    reason = f"  ({event.reason})" if event.reason else ""
    runs = ", ".join(f"{run.account.account_id} {outcome_label(run).lower()}" for run in event.runs.all())
    return (
        f"{event.pk:>6}  {instant_text(event.received_at)}  {event.source:<8}  {event.channel}{account}  "
        f"{event.exec}  {event.state}{duplicates}{reason}{'  ' if runs else ''}{runs}"
    )


def _side(quantity: int) -> str:
    return f"{'SELL' if quantity < 0 else 'BUY':<4} {abs(quantity):>6}"


def _price(price: Decimal | None) -> str:
    return "market" if price is None else price_text(price)
