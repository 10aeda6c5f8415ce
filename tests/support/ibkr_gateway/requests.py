"""What a client asks, read from the fields of version 178."""

from dataclasses import dataclass
from decimal import Decimal

# Where the fields of a placed order stand when it is no combination, has no algorithm and hedges nothing.
_CONTRACT = 12
_WHAT_IF = 68


@dataclass
class AskedContract:
    """A contract as a client names it."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str


@dataclass
class PlaceOrder:
    """An order as a client sends it."""

    order_id: int
    contract: AskedContract
    action: str
    total: Decimal
    order_type: str
    limit: Decimal | None
    tif: str
    account_id: str
    ref: str
    what_if: bool


def asked_contract(fields):
    """Twelve fields: conId, symbol, secType, expiry, strike, right, multiplier, exchange, primary, currency, ..."""
    return AskedContract(int(fields[0] or 0), fields[1], fields[2], fields[7], fields[8], fields[9])


def place_order(fields):
    """The order in a message of kind 3."""
    contract = asked_contract(fields[2 : 2 + _CONTRACT])
    head = fields[2 + _CONTRACT + 2 :]  # after secIdType and secId
    action, total, order_type, limit, _aux, tif, _oca, account_id, _open_close, _origin, ref = head[:11]
    return PlaceOrder(
        order_id=int(fields[1]),
        contract=contract,
        action=action,
        total=Decimal(total),
        order_type=order_type,
        limit=Decimal(limit) if limit and order_type == "LMT" else None,
        tif=tif,
        account_id=account_id,
        ref=ref,
        what_if=head[_WHAT_IF] == "1",
    )
