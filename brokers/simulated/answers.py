"""What the simulated broker answers to the requests of a connection, scripted faults included."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from brokers.broker_types import AccountSnapshot, Execution, Feasibility, InstrumentName, OpenOrder, OrderResult
from brokers.exceptions import BrokerAPIError, IncompleteAccountData, OrderOutcomeUnknown, OrderRejected
from brokers.simulated import mapping
from brokers.simulated.faults import Kind
from brokers.simulated.locked_accounts import LockedAccounts
from brokers.simulated.matching_engine import OrderRequest, accept, check_order
from brokers.simulated.models import SimulatedInstrument


class ConnectionDropped(OrderOutcomeUnknown):
    """The connection is lost while an order is submitted."""


def snapshot(accounts: LockedAccounts, account_id: str) -> AccountSnapshot | None:
    """Return the account with positions marked at mid price, or None if the broker does not respond.

    Raises:
        IncompleteAccountData: The account's value is missing.
    """
    if accounts.faults.take(Kind.MUTE, account_id):
        return None
    if accounts.faults.take(Kind.INCOMPLETE, account_id):
        raise IncompleteAccountData(f"The value of account {account_id} is missing.")
    account = accounts.account(account_id)
    positions = accounts.positions(account)
    return mapping.snapshot(account, positions, accounts.prices(position.symbol for position in positions))


def place_order(accounts: LockedAccounts, account_id: str, order: OrderRequest) -> OrderResult:
    """Accept an order and acknowledge it.

    Raises:
        OrderRejected: The order was rejected and not stored.
        OrderOutcomeUnknown: It was lost, or is not acknowledged.
    """
    scripted = partial(accounts.faults.take, account_id=account_id, symbol=order.symbol)
    if scripted(Kind.DISCONNECT_BEFORE):
        raise ConnectionDropped("The connection was lost while the order was submitted.")
    if scripted(Kind.LOST):
        raise OrderOutcomeUnknown("The broker did not acknowledge the order.")
    accepted = accept(accounts, order)
    if scripted(Kind.DISCONNECT_AFTER):
        raise ConnectionDropped("The connection was lost before the order was acknowledged.")
    if scripted(Kind.SILENT):
        raise OrderOutcomeUnknown("The broker did not acknowledge the order.")
    return mapping.order_result(accepted)


def check_feasible(accounts: LockedAccounts, account_id: str, order: OrderRequest) -> Feasibility:
    """Return whether the order would be accepted now."""
    accounts.account(account_id)
    try:
        check_order(accounts, order)
    except OrderRejected as refusal:
        return Feasibility(accepted=False, message=refusal.message)
    return Feasibility(accepted=True)


def open_orders(accounts: LockedAccounts, account_id: str) -> list[OpenOrder]:
    """Return the open orders of the account, newest first."""
    return [mapping.open_order(order) for order in reversed(accounts.open_orders(accounts.account(account_id)))]


def find_order(accounts: LockedAccounts, account_id: str, /, **ids: str) -> OrderResult | None:
    """Return the state of the order with an id (`order_id` or `client_order_id`), or None if there is none."""
    order = accounts.find_order(accounts.account(account_id), **ids)
    return mapping.order_result(order) if order is not None else None


def look_up_order(accounts: LockedAccounts, account_id: str, client_order_id: str) -> OrderResult | None:
    """Return the state of the order with the client's id, or None if there is none.

    Raises:
        BrokerAPIError: The records cannot be read.
    """
    _check_readable(accounts, account_id)
    return find_order(accounts, account_id, client_order_id=client_order_id)


def executions(accounts: LockedAccounts, account_id: str, since: datetime) -> list[Execution]:
    """Return the fills of the account since an instant, oldest first.

    Raises:
        BrokerAPIError: The records cannot be read.
    """
    _check_readable(accounts, account_id)
    return [mapping.execution(fill) for fill in accounts.executions(accounts.account(account_id), since)]


def _check_readable(accounts: LockedAccounts, account_id: str) -> None:
    if accounts.faults.take(Kind.UNREADABLE, account_id):
        raise BrokerAPIError("The broker's records cannot be read.")


def unknown(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the symbols without an instrument."""
    known = set(SimulatedInstrument.objects.filter(symbol__in=symbols).values_list("symbol", flat=True))
    return tuple(symbol for symbol in symbols if symbol not in known)


def names(symbols: Sequence[str]) -> dict[str, InstrumentName]:
    """Return the names and asset classes of the instruments by symbol."""
    known = SimulatedInstrument.objects.filter(symbol__in=symbols)
    return {one.symbol: InstrumentName(name=one.name, kind=one.asset_class) for one in known}
