"""Parser of client requests, in the format of server version 178."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

# Positions of fields in an order that is not a combination, has no algorithm and is not a hedge.
_CONTRACT = 12
_WHAT_IF = 68


@dataclass
class RequestedContract:
    """A contract in a request."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str


@dataclass
class PlaceOrder:
    """An order in a request."""

    order_id: int
    contract: RequestedContract
    action: str
    total: Decimal
    order_type: str
    limit: Decimal | None
    tif: str
    account_id: str
    ref: str
    what_if: bool


def requested_contract(fields: Sequence[str]) -> RequestedContract:
    """Parse twelve fields: conId, symbol, secType, expiry, strike, right, multiplier, exchange, primary, currency, ..."""
    return RequestedContract(int(fields[0] or 0), fields[1], fields[2], fields[7], fields[8], fields[9])


def place_order(fields: Sequence[str]) -> PlaceOrder:
    """Parse a message of type 3."""
    contract = requested_contract(fields[2 : 2 + _CONTRACT])
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
