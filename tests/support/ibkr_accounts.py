"""Accounts at the gateway on loopback, and the invariants of their orders after any fault."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from accounts.models import Account
from tests.support.ibkr_gateway import AccountRecords
from tests.support.makers import policy, strategy
from trading.models import Fill, Order, OrderState, RebalanceRun, RunState

SHORT = {
    "connection_timeout_seconds": Decimal(2),
    "request_timeout_seconds": Decimal(1),
    "order_timeout_seconds": 2,
}
"""Deadlines of a policy that are short enough for a test."""


def gateway_account(account_id: str, targets: Mapping[str, str], **fields: Any) -> Account:
    """Create an account of Interactive Brokers with its own strategy and short deadlines."""
    fields.setdefault("strategy", strategy(f"strategy-of-{account_id.lower()}", targets))
    fields.setdefault("policy", policy("short", **SHORT))
    fields.setdefault("trade_guard", Account.TradeGuard.NONE)
    return Account.objects.create(account_id=account_id, broker="ibkr", **fields)


def assert_orders_are_safe(records: AccountRecords) -> None:
    """Check that there is no duplicate, short sale or negative cash, and that every open order has an open row."""
    refs = [order.ref for order in records.orders]
    assert len(refs) == len(set(refs)), "an order was submitted twice"
    assert records.went_short == []
    for account in records.accounts.values():
        assert account.lowest_cash >= 0, f"{account.account_id} was at {account.lowest_cash}"
    for order in records.orders:
        row = Order.objects.filter(client_order_id=order.ref).first()
        if order.ref.startswith("rb-"):
            assert row is not None, f"{order.ref} has no row"
        if order.is_open and row is not None:
            assert row.state in OrderState.open_states(), f"{order.ref} is open, but its row is {row.state}"


def assert_runs_are_resolved(records: AccountRecords) -> None:
    """Check that every run has ended, and that the stored fills are those of the broker."""
    assert_orders_are_safe(records)
    assert not RebalanceRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).exists()
    stored = sorted(Fill.objects.values_list("order__client_order_id", "quantity", "price_usd", "commission_usd"))
    filled = sorted(
        (order.ref, fill.quantity * order.sign, fill.price, fill.commission)
        for order in records.orders
        if order.ref.startswith("rb-")
        for fill in order.fills
    )
    assert stored == filled
