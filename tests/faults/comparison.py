"""Compare the simulated broker's records with the journal after faults, and list every difference."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal

MANUAL_ORDER_ID = "by-hand"
"""Client order id of orders that a test places at the broker as a user would. They have no row in the journal."""


@dataclass
class Comparison:
    """Counts, and lists that are empty if the records agree. Each entry of a list describes one difference."""

    orders_sent_twice: list = field(default_factory=list)
    orders_sent_before_their_row: list = field(default_factory=list)
    events_lost: list = field(default_factory=list)
    runs_not_ended: list = field(default_factory=list)
    account_differences: list = field(default_factory=list)
    negative_cash: list = field(default_factory=list)
    events: int = 0
    runs: int = 0
    orders: int = 0
    fills: int = 0

    def differences(self):
        """Return the lists that are not empty, by name."""
        return {name: found for name, found in asdict(self).items() if isinstance(found, list) and found}


def compare_records(opening):
    """Compare the simulated broker's records with the journal.

    Args:
        opening: for each account, its cash and its shares by symbol before the first event, as text.
    """
    from brokers.simulated.models import SimulatedAccount, SimulatedOrder
    from trading.models import Fill, Order, RebalanceRun, StrategyEvent

    comparison = Comparison(
        events=StrategyEvent.objects.count(),
        runs=RebalanceRun.objects.count(),
        orders=SimulatedOrder.objects.count(),
        fills=Fill.objects.count(),
    )
    sent = list(SimulatedOrder.objects.exclude(client_order_id=MANUAL_ORDER_ID))
    times_sent = Counter(order.client_order_id for order in sent)
    comparison.orders_sent_twice = [client_id for client_id, times in times_sent.items() if times > 1]
    rows = dict(Order.objects.values_list("client_order_id", "submitted_at"))
    for order in sent:
        row = rows.get(order.client_order_id)
        if row is None or row > order.submitted_at:
            comparison.orders_sent_before_their_row.append(order.client_order_id)
    for event in StrategyEvent.objects.filter(state="accepted"):
        if not event.runs.exists():
            comparison.events_lost.append(event.message_id)
    for run in RebalanceRun.objects.filter(state__in=("queued", "running")):
        comparison.runs_not_ended.append(f"{run.run_id} {run.state}")
    for account in SimulatedAccount.objects.all():
        if account.cash_usd < 0:
            comparison.negative_cash.append(f"{account.account_id} {account.cash_usd}")
        if account.account_id in opening:
            comparison.account_differences += _account_differences(account, opening[account.account_id])
    return comparison


def _account_differences(account, opening):
    """Compare the account's fills, shares and cash at the broker with the opening plus the journal's fills."""
    from trading.models import Fill, Order

    journal = {
        (fill.order.client_order_id, fill.execution_id): (fill.quantity, fill.price_usd, fill.commission_usd)
        for fill in Fill.objects.filter(order__account__account_id=account.account_id).select_related("order")
    }
    broker = {
        (order.client_order_id, fill.execution_id): (fill.quantity, fill.price_usd, fill.commission_usd)
        for order in account.orders.prefetch_related("executions")
        for fill in order.executions.all()
    }
    differences = [
        f"{account.account_id} fill {key}: journal {journal.get(key)}, broker {broker.get(key)}"
        for key in journal.keys() | broker.keys()
        if journal.get(key) != broker.get(key)
    ]
    shares = Counter({symbol: Decimal(quantity) for symbol, quantity in opening["shares"].items()})
    cash = Decimal(opening["cash"])
    for order in Order.objects.filter(account__account_id=account.account_id).prefetch_related("fills"):
        shares[order.symbol] += order.filled_quantity
        for fill in order.fills.all():
            cash -= fill.quantity * fill.price_usd + (fill.commission_usd or 0)
    expected = {symbol: quantity for symbol, quantity in shares.items() if quantity}
    held = {position.symbol: position.quantity for position in account.positions.all()}
    if expected != held:
        differences.append(f"{account.account_id} shares: journal {expected}, broker {held}")
    if cash != account.cash_usd:
        differences.append(f"{account.account_id} cash: journal {cash}, broker {account.cash_usd}")
    return differences
