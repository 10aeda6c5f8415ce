"""Read what accounts are compared with: today's targets, rules and policy, in a constant number of queries.

Each part has a digest. A standing keeps the digests that it was compared under, so that a later change is recognized
whatever has made it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from accounts.models import Account, RebalancePolicy, Strategy, TargetAllocation
from accounts.models import ReplacementRule as StoredRule
from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import FrozenPolicy, resolve_policy
from accounts.replacements import as_rules
from calculator import AllocationItem, ReplacementRule
from trading.errors import Refused
from trading.models import PublishedTargets
from trading.planning.targets import check_targets, replaced_targets

PARTS = {
    "environment": (
        "other_environment",
        "The broker, the environment or the account number has changed since the account was read. Refresh it.",
    ),
    "strategy": ("other_strategy", "The account follows another strategy than at the last comparison."),
    "targets": ("targets_changed", "The targets have changed since the last comparison."),
    "replacements": ("rules_changed", "The replacement rules have changed since the last comparison."),
    "policy": ("settings_changed", "The policy or the cash reserve has changed since the last comparison."),
}
"""Parts of a basis, each with the code and the sentence of its change; the first that differs is the reason."""

_Rows = tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True)
class StandingBasis:
    """What an account is compared with.

    Attributes:
        market: broker and environment, whose quotes apply.
        published: symbols and weights of its strategy, as fractions; None if they were never fetched.
        digests: digest of each part by its name in `PARTS`.
    """

    market: tuple[str, str]
    strategy: Strategy | None
    published: _Rows | None
    rules: tuple[ReplacementRule, ...]
    policy: FrozenPolicy
    digests: Mapping[str, str]

    def targets(self) -> tuple[AllocationItem, ...]:
        """Return the targets after replacements, as a plan would use them.

        Raises:
            TradingError: there are none, or they cannot be traded.
        """
        if self.strategy is None:
            raise Refused("no_strategy", "The account has no strategy. Assign one.")
        if self.published is None:
            message = f"The targets of {self.strategy} have not been fetched yet. Fetch them on the strategy page."
            raise Refused("targets_not_fetched", message)
        stocks = self.strategy.stocks_named_like_cash
        checked = check_targets(list(self.published), stocks)
        return replaced_targets(checked.items, self.rules, self.policy.replacements, stocks)


def with_settings(accounts: QuerySet[Account]) -> QuerySet[Account]:
    """Load with the accounts what `read_bases` needs of each."""
    return accounts.select_related(FOLLOWED_STRATEGY, "replacement_set", "policy")


def read_bases(accounts: Sequence[Account]) -> dict[int, StandingBasis]:
    """Return the basis of each account by its key. The accounts come from `with_settings`."""
    followed = (account.followed_strategy for account in accounts)
    strategies = {strategy.pk: strategy for strategy in followed if strategy}
    rows = _rows_of(strategies)
    rules = _rules_of({account.replacement_set_id for account in accounts if account.replacement_set_id})
    default = None
    if any(account.policy_id is None for account in accounts):
        default = RebalancePolicy.objects.get(is_default=True)
    policies: dict[tuple[Any, ...], FrozenPolicy] = {}
    bases = {}
    for account in accounts:
        account.policy = account.policy or default  # these instances are not saved
        strategy = account.followed_strategy
        key = (account.policy_id, account.cash_reserve_percent)
        if key not in policies:
            policies[key] = resolve_policy(account)
        bases[account.pk] = _basis(
            account,
            strategy,
            rows.get(strategy.pk) if strategy else None,
            rules.get(account.replacement_set_id or 0, ()),
            policies[key],
        )
    return bases


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names of the parts whose digests differ."""
    return [name for name in PARTS if before.get(name) != after.get(name)]


def _basis(
    account: Account,
    strategy: Strategy | None,
    published: _Rows | None,
    rules: tuple[ReplacementRule, ...],
    policy: FrozenPolicy,
) -> StandingBasis:
    parts = {
        "strategy": strategy and [strategy.pk, strategy.source],
        "environment": [account.broker, account.type, account.account_id],
        "targets": published and [[(name, _plain(weight)) for name, weight in published], _stocks(strategy)],
        "replacements": [[rule.source, rule.target, _plain(rule.scale)] for rule in rules],
        "policy": [policy.sizing.model_dump(mode="json"), policy.replacements.model_dump(mode="json")],
    }
    digests = {name: _digest(part) for name, part in parts.items()}
    return StandingBasis((account.broker, account.type), strategy, published, rules, policy, digests)


def _stocks(strategy: Strategy | None) -> list[str]:
    return sorted(strategy.stocks_named_like_cash) if strategy else []


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rows_of(strategies: Mapping[int, Strategy]) -> dict[int, _Rows]:
    """Return the targets of each strategy, before replacements: its own rows, or those that were fetched last."""
    own = [pk for pk, strategy in strategies.items() if strategy.source == Strategy.Source.STATIC]
    found: dict[int, _Rows] = {}
    if own:
        rows = defaultdict(list)
        targets = TargetAllocation.objects.filter(strategy__in=own).order_by("symbol")
        for pk, symbol, weight in targets.values_list("strategy_id", "symbol", "weight"):
            rows[pk].append((symbol, weight))
        found |= {pk: tuple(rows[pk]) for pk in own}
    if len(own) < len(strategies):
        fetched = PublishedTargets.objects.filter(strategy__in=strategies.keys() - set(own), fetched_at__isnull=False)
        for pk, items in fetched.values_list("strategy_id", "targets"):
            found[pk] = tuple(sorted((item["symbol"], Decimal(item["weight"])) for item in items))
    return found


def _rules_of(sets: set[int]) -> dict[int, tuple[ReplacementRule, ...]]:
    rows: dict[int, list[StoredRule]] = defaultdict(list)
    for rule in StoredRule.objects.filter(replacement_set__in=sets).order_by("source") if sets else ():
        rows[rule.replacement_set_id].append(rule)
    return {pk: as_rules(rules) for pk, rules in rows.items()}
