from collections.abc import Mapping

from accounts.models import ReplacementSet
from calculator import ReplacementRule


def replacement_rules(replacement_set: ReplacementSet | None) -> tuple[ReplacementRule, ...]:
    """Return the rules of the set, ordered by source; without a set, none."""
    if replacement_set is None:
        return ()
    return tuple(
        ReplacementRule(source=rule.source, target=rule.target, scale=rule.scale)
        for rule in replacement_set.rules.order_by("source")
    )


def find_cycle(targets: Mapping[str, str]) -> list[str]:
    """Return the symbols of a cycle among the rules (source -> target), or an empty list."""
    for start in sorted(targets):
        path = [start]
        while (following := targets.get(path[-1])) is not None:
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []
