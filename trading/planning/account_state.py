"""Convert a broker's account snapshot to the calculator's account state."""

from collections.abc import Iterable
from decimal import Decimal

from brokers.broker_types import AccountPosition, AccountSnapshot
from calculator import AccountState, Position


def account_state(snapshot: AccountSnapshot) -> AccountState:
    """Return the account for the calculator. Positions other than US stocks are marked as not tradable."""
    return AccountState(
        total_value_usd=snapshot.total_value_usd,
        cash_usd=snapshot.cash_usd,
        positions=tuple(
            Position(
                symbol=position.symbol,
                quantity=position.quantity,
                market_price=position.market_price,
                contract=position.contract_id,
                tradable=position.is_us_stock,
            )
            for position in snapshot.positions
            if position.quantity
        ),
    )


def held_shares(positions: Iterable[AccountPosition]) -> dict[str, Decimal]:
    """Return signed shares by symbol, of the US stocks and ETFs among the positions."""
    held: dict[str, Decimal] = {}
    for position in positions:
        if position.is_us_stock and position.quantity:
            held[position.symbol] = held.get(position.symbol, Decimal(0)) + position.quantity
    return held
