"""The settings that a plan is made under. If one changes before the first order, the plan is not the one to execute."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import FrozenPolicy, resolve_policy
from accounts.replacements import replacement_rules
from calculator import ReplacementRule
from trading.models import RebalanceRun


class PlanBasis(BaseModel):
    """The settings that a plan is made under. Account data, quotes and targets are stored on the run beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    policy: FrozenPolicy
    strategy: str
    replacement_rules: tuple[ReplacementRule, ...]
    account_type: str
    live_armed: bool

    @classmethod
    def read(cls, account: Account, rules: Sequence[ReplacementRule]) -> "PlanBasis":
        """Return the settings of an account whose replacement rules are `rules`."""
        strategy = account.followed_strategy
        return cls.model_validate(
            {
                "policy": resolve_policy(account).model_dump(),
                "strategy": strategy.name if strategy else "",
                "replacement_rules": rules,
                "account_type": account.type,
                "live_armed": account.live_armed,
            }
        )

    def as_stored(self) -> dict[str, Any]:
        """Return the fields of a run that hold it. Pages read the policy, which has a field of its own."""
        content = self.model_dump(mode="json")
        return {"policy": content.pop("policy"), "basis": content}


def read_account(account_pk: int) -> Account:
    """Read an account as it is now, with what its settings refer to."""
    return Account.objects.select_related(FOLLOWED_STRATEGY, "replacement_set", "policy").get(pk=account_pk)


def basis_of(account: Account) -> PlanBasis:
    """Return the settings of an account that was read with `read_account`."""
    return PlanBasis.read(account, replacement_rules(account.replacement_set))


def stored_basis(run: RebalanceRun, current: PlanBasis) -> PlanBasis:
    """Return the settings that are stored on a run. What it does not contain is taken from the current ones."""
    policy = current.policy.model_dump() | run.policy
    return PlanBasis.model_validate(current.model_dump() | run.basis | {"policy": policy})


def describe_changes(before: PlanBasis, after: PlanBasis) -> list[str]:
    """Return each setting that differs, with its value before and after."""
    old, new = _by_name(before), _by_name(after)
    return [
        f"{name.replace('_', ' ')} {_text(old[name])} → {_text(value)}"
        for name, value in new.items()
        if old[name] != value
    ]


def _by_name(basis: PlanBasis) -> dict[str, Any]:
    content = basis.model_dump()
    policy: dict[str, Any] = content.pop("policy")
    return policy | content


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, (tuple, list)):
        return ", ".join(f"{rule['source']}={rule['target']}*{_text(rule['scale'])}" for rule in value) or "none"
    return str(value) if value not in {None, ""} else "none"
