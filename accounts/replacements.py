from collections.abc import Iterable, Mapping

from accounts import models
from accounts.models import ReplacementSet
from calculator import ReplacementRule


def replacement_rules(replacement_set: ReplacementSet | None) -> tuple[ReplacementRule, ...]:
    """Return the rules of the set, ordered by source; without a set, none."""
    return as_rules(replacement_set.rules.order_by("source")) if replacement_set else ()


def as_rules(rows: Iterable[models.ReplacementRule]) -> tuple[ReplacementRule, ...]:
    """Return stored rules as the calculator's values, in the same order."""
    return tuple(ReplacementRule(source=rule.source, target=rule.target, scale=rule.scale) for rule in rows)


def find_cycle(targets: Mapping[str, str]) -> list[str]:
    """Return the symbols of a cycle among the rules (source -> target), or an empty list."""
    for start in sorted(targets):
        path = [start]
        while (following := targets.get(path[-1])) is not None:
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []
