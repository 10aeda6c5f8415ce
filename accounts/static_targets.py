"""Targets of static strategies, whatever enters them: the admin, a CSV file or a YAML file."""

from collections.abc import Container, Sequence
from decimal import Decimal
from typing import Annotated, NamedTuple

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field

from accounts.cash_names import cash_name_problem
from accounts.models import Strategy, TargetAllocation
from accounts.target_weights import sum_problem
from accounts.yaml.fields import Number, Text


class TargetEntry(BaseModel):
    """One target of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: Text = Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,14}$")
    weight: Annotated[Number, Field(ge=0, allow_inf_nan=False, max_digits=10, decimal_places=8)]


class Changes(NamedTuple):
    """Number of targets that were added, changed and removed."""

    added: int
    changed: int
    removed: int


def targets_problem(rows: Sequence[tuple[str, Decimal]], stocks: Container[str]) -> str | None:
    """Return why these targets of a static strategy cannot be traded, or None.

    Args:
        rows: symbols and weights.
        stocks: symbols that mean the stock although they read like cash.
    """
    total = sum((weight for _, weight in rows), Decimal(0))
    if not total:
        return "A static strategy needs a target with a weight above 0."
    return sum_problem(total) or cash_name_problem((symbol for symbol, _ in rows), stocks)


def replace_targets(strategy: Strategy, entries: Sequence[TargetEntry]) -> Changes:
    """Give the strategy exactly these targets, row by row, so that the history contains each change."""
    wanted = {entry.symbol: entry.weight for entry in entries}
    with transaction.atomic():
        known = {target.symbol: target for target in strategy.targets.all()}
        removed = [target for symbol, target in known.items() if symbol not in wanted]
        for target in removed:
            target.delete()
        added = changed = 0
        for symbol, weight in wanted.items():
            target = known.get(symbol) or TargetAllocation(strategy=strategy, symbol=symbol)
            if target.pk is None or target.weight != weight:
                added += target.pk is None
                changed += target.pk is not None
                target.weight = weight
                target.save()
    return Changes(added, changed, len(removed))
