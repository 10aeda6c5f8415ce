"""Plans that need nobody's approval though they are held: small ones, of symbols that the account knows."""

from dataclasses import dataclass

from trading.planning.account_state import held_shares
from trading.planning.proposal import Proposal
from trading.planning.run_context import RunContext


@dataclass(frozen=True)
class Approval:
    """Whether a held plan approves itself, and why or why not, in a sentence; empty where the strategy has no rule."""

    given: bool
    reason: str


def judge(context: RunContext, proposal: Proposal, *, targets_are_old: bool) -> Approval:
    """Looks at a plan that is held by the rule of its strategy; in doubt a person decides."""
    limit = context.policy.auto_approve_turnover_percent
    if limit is None:
        return Approval(given=False, reason="")
    if objections := _objections(context, proposal, targets_are_old=targets_are_old):
        return Approval(given=False, reason=f"It does not approve itself: {'; '.join(objections)}.")
    return Approval(
        given=True,
        reason=f"It approves itself by the rule of its strategy: less than {limit.normalize():f} %, and no new symbol.",
    )


def _objections(context: RunContext, proposal: Proposal, *, targets_are_old: bool) -> list[str]:
    limit, held = context.policy.auto_approve_turnover_percent, held_shares(proposal.snapshot.positions)
    found = []
    if limit is not None and proposal.result.turnover_percent >= limit:
        found.append(f"its strategy lets only plans below {limit.normalize():f} % do so")
    buys = {trade.symbol for trade in proposal.result.trades if trade.quantity > 0}
    if new := sorted(symbol for symbol in buys if held.get(symbol, 0) <= 0):
        found.append(f"it buys {', '.join(new)}, which the account does not hold")
    if targets_are_old:
        found.append("its targets are old")
    if codes := sorted({warning.code for warning in proposal.warnings}):
        found.append(f"there is something to note about it ({', '.join(codes)})")
    if context.approval_needs_code:
        found.append("approving needs a one-time code here")
    return found
