"""A replacement set in the calculator's words."""

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
