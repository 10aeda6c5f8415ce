"""Accounts of the gateway on loopback, and what must hold of their orders whatever has gone wrong."""

from decimal import Decimal

from accounts.models import Account
from tests.support.makers import policy, strategy
from trading.models import Fill, Order, OrderState, RebalanceRun, RunState

SHORT = {
    "connection_timeout_seconds": Decimal(2),
    "request_timeout_seconds": Decimal(1),
    "order_timeout_seconds": 2,
}
"""Deadlines that a test can wait for."""


def gateway_account(account_id, targets, **fields):
    """An account of Interactive Brokers that follows a strategy of its own, with short deadlines."""
    fields.setdefault("strategy", strategy(f"strategy-of-{account_id.lower()}", targets))
    fields.setdefault("policy", policy("short", **SHORT))
    fields.setdefault("trade_guard", Account.TradeGuard.NONE)
    return Account.objects.create(account_id=account_id, broker="ibkr", **fields)


def assert_nothing_is_wrong(book):
    """No duplicate, no oversell, no negative cash, no short, and no live order that no row accounts for."""
    refs = [order.ref for order in book.orders]
    assert len(refs) == len(set(refs)), "an order was sent twice"
    assert book.went_short == []
    for account in book.accounts.values():
        assert account.lowest_cash >= 0, f"{account.account_id} was at {account.lowest_cash}"
    for order in book.orders:
        row = Order.objects.filter(client_order_id=order.ref).first()
        if order.ref.startswith("rb-"):
            assert row is not None, f"{order.ref} has no row"
        if order.is_live and row is not None:
            assert row.state in OrderState.open_states(), f"{order.ref} lives, and its row says {row.state}"


def assert_settled(book):
    """Every run has ended; the rows' fills are the broker's, to the share and the cent."""
    assert_nothing_is_wrong(book)
    assert not RebalanceRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).exists()
    ours = sorted(Fill.objects.values_list("order__client_order_id", "quantity", "price_usd", "commission_usd"))
    theirs = sorted(
        (order.ref, fill.quantity * order.sign, fill.price, fill.commission)
        for order in book.orders
        if order.ref.startswith("rb-")
        for fill in order.fills
    )
    assert ours == theirs
