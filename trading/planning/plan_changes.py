"""What has changed since plans were made, so that they are not sent: targets, settings, broker or account number."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from accounts.models import Account
from calculator import AllocationItem
from trading.errors import Refused, TradingError
from trading.models import RebalanceRun
from trading.planning.plan_basis import PlanBasis, describe_changes, stored_basis
from trading.planning.standing_basis import StandingBasis, read_bases, with_settings

NEW_PREVIEW = "Nothing was sent. Request a new preview."


def changes_since(plans: Sequence[RebalanceRun]) -> dict[int, Refused]:
    """Return why plans are no longer what their accounts would trade, by primary key; without those that are.

    Targets of the allocations service are those that were fetched last. The number of queries is constant, if the
    plans were read with their connections.
    """
    if not plans:
        return {}
    accounts = list(with_settings(Account.objects.filter(pk__in={plan.account_id for plan in plans})))
    bases = read_bases(accounts)
    by_key = {account.pk: account for account in accounts}
    found = {plan.pk: _change(plan, by_key[plan.account_id], bases[plan.account_id]) for plan in plans}
    return {pk: refusal for pk, refusal in found.items() if refusal}


def is_of_account(plan: RebalanceRun, account: Account) -> bool:
    """Return whether the plan was made for the broker, environment and number that the account has today."""
    slot, number = plan.connection, plan.snapshot.get("account_id", account.account_id)
    return (slot.broker, slot.environment, number) == (account.broker, account.type, account.account_id)


def _change(plan: RebalanceRun, account: Account, today: StandingBasis) -> Refused | None:
    if not is_of_account(plan, account):
        return _refusal("preview_moved", "The broker, the environment or the account number has changed")
    current = PlanBasis.read(account, today.rules)
    if changes := describe_changes(stored_basis(plan, current), current):
        return _refusal("approval_outdated", "Settings have changed", f": {'; '.join(changes)}")
    if _targets_differ(plan.targets, today):
        return _refusal("preview_moved", "The targets have changed")
    return None


def _refusal(code: str, changed: str, what: str = "") -> Refused:
    return Refused(code, f"{changed} since this preview{what}. {NEW_PREVIEW}")


def _targets_differ(planned: Sequence[Mapping[str, Any]], today: StandingBasis) -> bool:
    if not planned or today.published is None:
        return False
    try:
        targets = today.targets()
    except TradingError:  # the plan was made from targets that could be traded
        return True
    return {row["symbol"]: Decimal(row["weight"]) for row in planned} != _weights(targets)


def _weights(targets: Iterable[AllocationItem]) -> dict[str, Decimal]:
    return {item.symbol: item.weight for item in targets}
