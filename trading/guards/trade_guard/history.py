"""Executions of an account: those that the broker reported, manual trades included, and our own fills."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from trading.market_calendar import MarketCalendar
from trading.models import Fill, SeenExecution
from trading.models.orders import reduce


@dataclass(frozen=True)
class Trade:
    """One execution and its session. Quantity: negative for a sell."""

    symbol: str
    quantity: Decimal
    price_usd: Decimal
    executed_at: datetime
    session_date: date


def window(session_date: date, sessions: int, calendar: MarketCalendar) -> list[date]:
    """Return the days of the last sessions up to and including the given one, oldest first."""
    days = [session_date]
    while len(days) < sessions:
        days.append(calendar.session_before(days[-1]).day)
    return days[::-1]


def executed_since(account_pk: int, first_session: date, calendar: MarketCalendar) -> list[Trade]:
    """Return all executions of the account since the given session, oldest first."""
    since = calendar.session_before(first_session).closes_at
    seen = list(SeenExecution.objects.filter(account_id=account_pk, executed_at__gte=since))
    found = {
        row.execution_id: Trade(row.symbol, row.quantity, row.price_usd, row.executed_at, row.session_date)
        for row in seen
    }
    # A broker reports executions of the current day only; our own fills of other days are in the journal.
    fills = list(Fill.objects.filter(order__account_id=account_pk, executed_at__gte=since).select_related("order"))
    booked = {fill.execution_id for fill in fills}
    unbooked: dict[str, Decimal] = defaultdict(Decimal)
    for row in seen:
        if row.execution_id not in booked:
            unbooked[row.client_order_id] += abs(row.quantity)
    for fill in fills:
        # What the broker has reported replaces a fill that a user entered, also before the order's row is updated.
        replaced = unbooked[fill.order.client_order_id] if fill.is_manual else Decimal(0)
        if quantity := reduce(fill.quantity, replaced):
            session = calendar.session_of(fill.executed_at)
            trade = Trade(fill.order.symbol, quantity, fill.price_usd, fill.executed_at, session.day)
            found.setdefault(fill.execution_id, trade)
    return sorted(found.values(), key=lambda trade: trade.executed_at)


def day_trades(trades: Iterable[Trade]) -> dict[date, int]:
    """Count the day trades by session: a sell of a symbol after a buy of it in the same session."""
    counts: dict[date, int] = {}
    bought: set[tuple[date, str]] = set()
    for trade in trades:
        key = (trade.session_date, trade.symbol)
        if trade.quantity > 0:
            bought.add(key)
        elif key in bought:
            bought.remove(key)  # further sells belong to the same day trade until it is bought again
            counts[trade.session_date] = counts.get(trade.session_date, 0) + 1
    return counts


def bought_in(trades: Iterable[Trade], session_date: date) -> set[str]:
    """Return the symbols bought in the session and not sold since."""
    left: set[str] = set()
    for trade in trades:
        if trade.session_date == session_date:
            (left.add if trade.quantity > 0 else left.discard)(trade.symbol)
    return left


def bought_with_unsettled_money(trades: Iterable[Trade], unsettled_from: date) -> set[str]:
    """Return the symbols bought after a sale that has not settled: its proceeds may have paid for them."""
    sold, symbols = False, set()
    for trade in trades:
        if trade.session_date < unsettled_from:
            continue
        if trade.quantity < 0:
            sold = True
        elif sold:
            symbols.add(trade.symbol)
    return symbols


def unsettled_usd(trades: Iterable[Trade], unsettled_from: date) -> Decimal:
    """Return the proceeds of sales that have not settled, in USD."""
    sales = [trade for trade in trades if trade.quantity < 0 and trade.session_date >= unsettled_from]
    return sum((-trade.quantity * trade.price_usd for trade in sales), Decimal(0))
