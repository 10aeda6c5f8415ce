"""The facts of a run that do not change while it is executed: account, strategy, mode, policy."""

from dataclasses import dataclass

from accounts.models import Strategy
from accounts.policies import FrozenPolicy, needs_one_time_code
from calculator import ReplacementRule
from trading.journal.runs import has_sent_orders
from trading.models import EventState, RebalanceRun, RunMode
from trading.models.run_documents import ExecCommand
from trading.planning.plan_basis import PlanBasis, basis_of, describe_changes, read_account, stored_basis


@dataclass(frozen=True)
class RunContext:
    """The facts of a run that do not change while it is executed.

    Attributes:
        approved: the preview whose plan it executes.
        basis: the settings that its plan is made under.
        has_sent: whether an order of the run was sent before, so that its settings are frozen.
        changes: settings that differ from those of the run's last attempt.
        is_late: whether a late event asked for a rebalance, which is only previewed.
        approval_changes: settings that differ from those that the plan was approved under.
    """

    pk: int
    account_pk: int
    account_id: str
    strategy: Strategy | None
    mode: RunMode
    source: str
    basis: PlanBasis
    has_sent: bool
    changes: tuple[str, ...]
    approved: RebalanceRun | None
    approval_changes: tuple[str, ...]
    approval_needs_code: bool
    is_late: bool

    @property
    def executes(self) -> bool:
        """Whether the run may send orders."""
        return self.mode == RunMode.EXECUTE

    @property
    def policy(self) -> FrozenPolicy:
        """The account's policy."""
        return self.basis.policy

    @property
    def replacement_rules(self) -> tuple[ReplacementRule, ...]:
        """The rules that replace symbols of the targets."""
        return self.basis.replacement_rules


def make_run_context(run: RebalanceRun) -> RunContext:
    """Read the account's settings for an attempt of the run. They are frozen from its first order on, not before."""
    account = read_account(run.account_id)
    current = basis_of(account)
    stored, has_sent = stored_basis(run, current), has_sent_orders(run.pk)
    basis = stored if has_sent else current
    approved = run.approved_preview
    return RunContext(
        pk=run.pk,
        account_pk=account.pk,
        account_id=account.account_id,
        strategy=account.followed_strategy,
        mode=RunMode(run.mode),
        source=run.event.source,
        basis=basis,
        has_sent=has_sent,
        changes=tuple(describe_changes(stored, basis)),
        approved=approved,
        approval_changes=tuple(describe_changes(stored_basis(approved, basis), basis)) if approved else (),
        approval_needs_code=needs_one_time_code(account),
        is_late=(run.event.state, run.event.exec, run.mode)
        == (EventState.LATE, ExecCommand.REBALANCE, RunMode.PREVIEW),
    )
