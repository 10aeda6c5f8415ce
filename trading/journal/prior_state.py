"""What the database knows of a run's account before the broker is queried."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from calculator.plan_types import CASH
from trading.journal.orders import OrderView, filled_since, orders_of, orphaned_orders
from trading.models import AccountStanding
from trading.models.run_documents import stored_weights

RECENT = timedelta(days=7)
"""Age up to which a fill proves that the broker accepts such an order of the account."""


@dataclass(frozen=True)
class PriorState:
    """Orders and positions of the account, read while the connection is being opened.

    Attributes:
        orders: orders of the run itself from an interrupted attempt, oldest first.
        orphaned_orders: open orders of the account's other runs, oldest first.
        held_symbols: symbols that the account held at its last plan.
        recently_filled: symbols that the account traded within the last days, each with whether it was a sell.
    """

    orders: tuple[OrderView, ...]
    orphaned_orders: tuple[OrderView, ...]
    held_symbols: frozenset[str]
    recently_filled: frozenset[tuple[str, bool]]


def read_prior_state(run_pk: int, account_pk: int) -> PriorState:
    """Read the present state of a run and its account."""
    weights = AccountStanding.objects.filter(account_id=account_pk).values_list("weights", flat=True).first() or []
    return PriorState(
        orders=tuple(orders_of(run_pk)),
        orphaned_orders=tuple(orphaned_orders(account_pk, run_pk)),
        held_symbols=frozenset(stored_weights(dict(weights))) - {CASH},
        recently_filled=frozenset(filled_since(account_pk, timezone.now() - RECENT)),
    )
