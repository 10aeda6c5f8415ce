"""The facts of a run that do not change while it is executed: account, strategy, mode, policy."""

from dataclasses import dataclass
from typing import Any

from accounts.models import Account, Strategy
from accounts.policies import FrozenPolicy, needs_one_time_code, resolve_policy
from accounts.replacements import replacement_rules
from calculator import ReplacementRule
from trading.models import RebalanceRun, RunMode


@dataclass(frozen=True)
class ApprovedPlan:
    """The plan that a user approved, with the data that it was made from."""

    run_id: str
    digest: str
    result: dict[str, Any]
    targets: list[dict[str, str]]
    snapshot: dict[str, Any]
    quotes: list[dict[str, Any]]


@dataclass(frozen=True)
class RunContext:
    """The facts of a run that do not change while it is executed."""

    pk: int
    run_id: str
    account_pk: int
    account_id: str
    strategy: Strategy | None
    mode: RunMode
    source: str
    policy: FrozenPolicy
    replacement_rules: tuple[ReplacementRule, ...]
    approved: ApprovedPlan | None
    approval_needs_code: bool

    @property
    def executes(self) -> bool:
        """Whether the run may send orders."""
        return self.mode == RunMode.EXECUTE


def make_run_context(run: RebalanceRun) -> RunContext:
    """Freeze the account's policy for the run. A resumed run keeps the policy that it started with."""
    account: Account = run.account
    policy = FrozenPolicy.model_validate(run.policy) if run.policy else resolve_policy(account)
    return RunContext(
        pk=run.pk,
        run_id=run.run_id,
        account_pk=account.pk,
        account_id=account.account_id,
        strategy=account.strategy,
        mode=RunMode(run.mode),
        source=run.event.source,
        policy=policy,
        replacement_rules=replacement_rules(account.replacement_set),
        approved=_approved(run.approved_preview),
        approval_needs_code=needs_one_time_code(account),
    )


def _approved(preview: RebalanceRun | None) -> ApprovedPlan | None:
    if preview is None:
        return None
    return ApprovedPlan(
        run_id=preview.run_id,
        digest=preview.plan_hash,
        result=preview.result,
        targets=preview.targets,
        snapshot=preview.snapshot,
        quotes=preview.quotes,
    )
