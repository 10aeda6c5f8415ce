"""Automatic approval of held plans: small plans that buy no symbol that is new to the account."""

from dataclasses import dataclass

from calculator.formats import percent
from trading.planning.account_state import held_shares
from trading.planning.proposal import Proposal
from trading.planning.run_context import RunContext


@dataclass(frozen=True)
class Approval:
    """Whether a held plan is approved automatically, and the reason. Empty reason: the strategy has no rule."""

    given: bool
    reason: str


def decide(context: RunContext, proposal: Proposal, *, targets_are_old: bool) -> Approval:
    """Decide on a held plan by the rule of its strategy. In case of doubt, a user decides."""
    limit, held = context.policy.auto_approve_turnover_percent, held_shares(proposal.snapshot.positions)
    if limit is None:
        return Approval(given=False, reason="")
    objections = []
    if proposal.result.turnover_percent >= limit:
        objections.append(f"the turnover is not below {percent(limit, None)}")
    buys = {trade.symbol for trade in proposal.result.trades if trade.quantity > 0}
    if new := sorted(symbol for symbol in buys if held.get(symbol, 0) <= 0):
        objections.append(f"the plan buys {', '.join(new)}, which the account does not hold")
    if targets_are_old:
        objections.append("the targets are old")
    if codes := sorted({warning.code for warning in proposal.warnings}):
        objections.append(f"the plan has warnings ({', '.join(codes)})")
    if context.approval_needs_code:
        objections.append("approval requires a two-factor code (2FA)")
    if objections:
        return Approval(given=False, reason=f"Not approved automatically: {'; '.join(objections)}.")
    reason = f"Approved automatically: turnover below {percent(limit, None)}, and no new symbol."
    return Approval(given=True, reason=reason)
