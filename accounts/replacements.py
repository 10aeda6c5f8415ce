"""Replacement sets: the calculator's form of their rules, and the search for cycles."""

from collections.abc import Mapping

from accounts.models import ReplacementSet
from calculator import ReplacementRule


def replacement_rules(replacement_set: ReplacementSet | None) -> tuple[ReplacementRule, ...]:
    """The rules of the set, by source; none for no set."""
    if replacement_set is None:
        return ()
    return tuple(
        ReplacementRule(source=rule.source, target=rule.target, scale=rule.scale)
        for rule in replacement_set.rules.order_by("source")
    )


def find_cycle(targets: Mapping[str, str]) -> list[str]:
    """The symbols of a circle among the rules (source -> target), or an empty list."""
    for start in sorted(targets):
        path = [start]
        while (following := targets.get(path[-1])) is not None:
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []
