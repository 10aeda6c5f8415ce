"""The facts of a run that do not change while it is executed: account, strategy, mode, policy."""

from dataclasses import dataclass

from accounts.models import Account, Strategy
from accounts.policies import FrozenPolicy, needs_one_time_code, resolve_policy
from accounts.replacements import replacement_rules
from calculator import ReplacementRule
from trading.models import RebalanceRun, RunMode


@dataclass(frozen=True)
class RunContext:
    """The facts of a run that do not change while it is executed; `approved` is the preview whose plan it executes."""

    pk: int
    account_pk: int
    account_id: str
    strategy: Strategy | None
    mode: RunMode
    source: str
    policy: FrozenPolicy
    replacement_rules: tuple[ReplacementRule, ...]
    approved: RebalanceRun | None
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
        account_pk=account.pk,
        account_id=account.account_id,
        strategy=account.followed_strategy,
        mode=RunMode(run.mode),
        source=run.event.source,
        policy=policy,
        replacement_rules=replacement_rules(account.replacement_set),
        approved=run.approved_preview,
        approval_needs_code=needs_one_time_code(account),
    )
