"""What the rows say of a run's account before the broker is asked."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from calculator.projection import CASH
from trading.journal.orders import OrderView, filled_since, orders_of, orphaned_orders
from trading.models import AccountStanding

LATELY = timedelta(days=7)
"""An order that the broker has filled for the account within this time is one that it takes."""


@dataclass(frozen=True)
class PriorState:
    """Read while the link is being opened.

    Attributes:
        orders: those of the run itself, oldest first, of an attempt that was interrupted.
        left_behind: those of the account's other runs that may be alive, oldest first.
        held_symbols: symbols that the account held when it was last planned.
        recently_filled: symbols that it has traded lately, each with whether it was a sell.
    """

    orders: tuple[OrderView, ...]
    orphaned_orders: tuple[OrderView, ...]
    held_symbols: frozenset[str]
    recently_filled: frozenset[tuple[str, bool]]


def read_prior_state(run_pk: int, account_pk: int) -> PriorState:
    """Reads it, now."""
    weights = AccountStanding.objects.filter(account_id=account_pk).values_list("weights", flat=True).first() or []
    return PriorState(
        orders=tuple(orders_of(run_pk)),
        orphaned_orders=tuple(orphaned_orders(account_pk, run_pk)),
        held_symbols=frozenset(symbol for symbol, _ in weights) - {CASH},
        recently_filled=frozenset(filled_since(account_pk, timezone.now() - LATELY)),
    )
