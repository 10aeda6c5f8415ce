"""Convert a broker's account snapshot to the calculator's account state."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from brokers.broker_types import AccountPosition, AccountSnapshot, ContractPrice, SecurityKind
from calculator import AccountState, Position
from calculator.formats import shares
from trading.models.run_documents import RunWarning

DUST_SHARES, DUST_USD = Decimal("0.001"), Decimal("0.01")
"""A short position below one of these is a rounding difference of the broker, and is left out."""


def account_state(snapshot: AccountSnapshot, prices: Mapping[str, ContractPrice]) -> AccountState:
    """Return the account for the calculator.

    Positions other than the US stocks and ETFs that an order for their symbol trades are marked as not tradable. A
    position without the broker's mark is valued at its quote.
    """
    return AccountState(
        total_value_usd=snapshot.total_value_usd,
        cash_usd=snapshot.cash_usd,
        positions=tuple(
            Position(
                symbol=position.symbol,
                quantity=position.quantity,
                market_price=_mark(position, prices),
                contract=position.contract_id,
                tradable=position.is_us_stock,
                is_cash=position.kind is SecurityKind.CASH,
            )
            for position in snapshot.positions
            if position.quantity and not _is_dust(position)
        ),
    )


def _mark(position: AccountPosition, prices: Mapping[str, ContractPrice]) -> Decimal | None:
    """Return the broker's mark, else the middle of the quote, else the last or closing price; None if there is none."""
    price = prices.get(position.symbol)
    if position.market_price is not None or price is None or not position.is_us_stock:
        return position.market_price
    if price.is_two_sided and price.bid is not None and price.ask is not None:
        return (price.bid + price.ask) / 2
    return price.last or price.close


def _is_dust(position: AccountPosition) -> bool:
    """Return whether a negative quantity is too small to be a short position."""
    if position.quantity >= 0:
        return False
    is_small = position.kind is SecurityKind.STOCK and -position.quantity < DUST_SHARES
    mark = position.market_price
    # A mark of zero proves nothing about the size: a future has one.
    return is_small or (mark is not None and mark > 0 and -position.quantity * mark < DUST_USD)


def account_warnings(snapshot: AccountSnapshot) -> list[RunWarning]:
    """Return the broker's notes about the account data, and a warning for each position that needs one."""
    warnings = [RunWarning(code=note.code, message=note.message) for note in snapshot.notes]
    for position in snapshot.positions:
        amount = shares(abs(position.quantity))
        if position.is_other_contract:
            text = (
                f"{amount} {position.symbol} are held as contract {position.contract_id} "
                f"({position.exchange or 'exchange unknown'}, {position.currency}). Orders for {position.symbol} trade "
                "another contract: this position is counted, and neither sold nor counted towards the target."
            )
            warnings.append(RunWarning(code="other_contract_held", message=text))
        elif position.kind is SecurityKind.CASH and position.quantity < 0 and position.market_price != 0:
            text = f"The account owes {amount} {position.symbol}. The debt is counted, and no order repays it."
            warnings.append(RunWarning(code="currency_debt", message=text))
    return warnings


def held_shares(positions: Iterable[AccountPosition]) -> dict[str, Decimal]:
    """Return signed shares by symbol, of the US stocks and ETFs that an order for their symbol trades."""
    held: dict[str, Decimal] = {}
    for position in positions:
        if position.is_us_stock and position.quantity:
            held[position.symbol] = held.get(position.symbol, Decimal(0)) + position.quantity
    return held
