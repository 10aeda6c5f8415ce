"""What must hold after any fault, counted from the broker's own books and from the journal."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal


@dataclass
class Ledger:
    """Every list is empty when all is well; each entry says what is wrong."""

    orders_sent_twice: list = field(default_factory=list)
    orders_without_an_older_row: list = field(default_factory=list)
    events_lost: list = field(default_factory=list)
    runs_without_an_end: list = field(default_factory=list)
    accounts_in_disagreement: list = field(default_factory=list)
    negative_cash: list = field(default_factory=list)
    events: int = 0
    runs: int = 0
    orders: int = 0
    fills: int = 0

    def wrong(self):
        """Everything that is wrong, by its name."""
        return {name: found for name, found in asdict(self).items() if isinstance(found, list) and found}


def take_stock(opening):
    """Compares the simulated broker's books with the journal.

    Args:
        opening: of each account, its cash and its shares by symbol before the first event, as text.
    """
    from brokers.simulated.models import SimulatedAccount, SimulatedOrder
    from trading.models import Fill, Order, RebalanceRun, StrategyEvent

    ledger = Ledger(
        events=StrategyEvent.objects.count(),
        runs=RebalanceRun.objects.count(),
        orders=SimulatedOrder.objects.count(),
        fills=Fill.objects.count(),
    )
    sent = Counter(SimulatedOrder.objects.exclude(client_order_id="by-hand").values_list("client_order_id", flat=True))
    ledger.orders_sent_twice = [client_id for client_id, times in sent.items() if times > 1]
    rows = dict(Order.objects.values_list("client_order_id", "submitted_at"))
    for order in SimulatedOrder.objects.exclude(client_order_id="by-hand"):
        row = rows.get(order.client_order_id)
        if row is None or row > order.submitted_at:
            ledger.orders_without_an_older_row.append(order.client_order_id)
    for event in StrategyEvent.objects.filter(state="accepted"):
        if not event.runs.exists():
            ledger.events_lost.append(event.message_id)
    for run in RebalanceRun.objects.filter(state__in=("queued", "running")):
        ledger.runs_without_an_end.append(f"{run.run_id} {run.state}")
    for account in SimulatedAccount.objects.all():
        if account.cash_usd < 0:
            ledger.negative_cash.append(f"{account.account_id} {account.cash_usd}")
        if account.account_id in opening:
            ledger.accounts_in_disagreement += _differences(account, opening[account.account_id])
    return ledger


def _differences(account, opening):
    """How the account's books at the broker differ from what it had and what the journal's fills add."""
    from trading.models import Fill

    ours = {
        (fill.order.client_order_id, fill.execution_id): (fill.quantity, fill.price_usd, fill.commission_usd)
        for fill in Fill.objects.filter(order__account__account_id=account.account_id).select_related("order")
    }
    theirs = {
        (order.client_order_id, fill.execution_id): (fill.quantity, fill.price_usd, fill.commission_usd)
        for order in account.orders.prefetch_related("executions")
        for fill in order.executions.all()
    }
    wrong = [
        f"{account.account_id} fill {key}: ours {ours.get(key)}, theirs {theirs.get(key)}"
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    ]
    shares = Counter({symbol: Decimal(quantity) for symbol, quantity in opening["shares"].items()})
    cash = Decimal(opening["cash"])
    from trading.models import Order

    for order in Order.objects.filter(account__account_id=account.account_id).prefetch_related("fills"):
        shares[order.symbol] += order.filled_quantity
        for fill in order.fills.all():
            cash -= fill.quantity * fill.price_usd + (fill.commission_usd or 0)
    held = {position.symbol: position.quantity for position in account.positions.all()}
    booked = {symbol: quantity for symbol, quantity in shares.items() if quantity}
    if booked != held:
        wrong.append(f"{account.account_id} shares: ours {booked}, theirs {held}")
    if cash != account.cash_usd:
        wrong.append(f"{account.account_id} cash: ours {cash}, theirs {account.cash_usd}")
    return wrong
