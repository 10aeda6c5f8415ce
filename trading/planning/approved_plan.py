"""Execute the plan that a user approved, or refuse.

While its quotes are valid, exactly the stored plan is executed. A plan that waited for approval longer is planned again
from the same targets, positions and settings at current prices. The new plan is executed if all of this holds:

- no quote of an order has moved by more than the policy's *maximum price move*;
- no order is in another symbol or on another side than in the approved plan;
- no quantity differs by more than one share, or than the maximum price move of the order or of the position that it
  changes, whichever is most;
- the turnover exceeds the approved one by at most the maximum price move of it, or one share of each order;
- the turnover exceeds the policy's limit only if the approved one did.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from accounts.policies import FrozenPolicy
from brokers.broker_types import AccountSnapshot
from calculator import Quote, TradeCalculationResult
from calculator.formats import percent
from calculator.plan_types import PlanLine
from trading.errors import NeedsAttention, Refused
from trading.journal.orders import OrderView
from trading.models import RebalanceRun
from trading.models.run_documents import GuardResult
from trading.planning.account_state import held_shares
from trading.planning.proposal import Proposal
from trading.planning.targets import as_json

NEW_PREVIEW = "Nothing was sent. Make a new preview."
DIFFERENCES_NAMED = 10
"""Maximum number of differences that a message names."""


def can_be_approved(proposal: Proposal, guards: Sequence[GuardResult], until: datetime, *, is_late: bool) -> bool:
    """Return whether a preview waits for a user's approval.

    It does if nothing but that keeps its orders from being sent: every other guard passed, or will before `until`.
    """
    if not proposal.result.trades or not (is_late or any(guard.needs_approval for guard in guards)):
        return False
    others = [guard for guard in guards if not guard.passed and not guard.needs_approval]
    return all(guard.not_before is not None and guard.not_before < until for guard in others)


def match_approved(
    approved: RebalanceRun, current: Proposal, sent: Sequence[OrderView], policy: FrozenPolicy, now: datetime
) -> Proposal:
    """Return the plan to execute: the approved one, or the current one if it may take the approved one's place.

    Args:
        approved: the preview whose plan the user approved.
        current: targets, account, quotes and plan as they are now.
        sent: orders of an earlier attempt of this run.
        policy: the policy, with the limits of a change since the preview.
        now: the time.

    Raises:
        Refused: targets, positions or quotes have changed, or the plan with them; nothing was sent.
        NeedsAttention: the run was interrupted after some orders had filled; a user decides about the rest.
    """
    if any(order.filled_quantity for order in sent):
        raise NeedsAttention(
            "preview_moved",
            "The run was interrupted after some orders of the approved plan had filled. Preview the account again "
            "to see the remaining trades.",
        )
    result = TradeCalculationResult.model_validate(approved.result)
    if result.plan.plan_hash != approved.plan_hash:
        raise Refused("plan_hash_mismatch", f"The stored plan is not the approved one. {NEW_PREVIEW}")
    if approved.approval_until is not None and now >= approved.approval_until:
        message = "The approval ended at the session's close, before the run could start."
        raise Refused("approval_expired", f"{message} {NEW_PREVIEW}")
    if approved.targets != as_json(current.targets):
        raise Refused("preview_moved", f"The strategy's targets have changed since the preview. {NEW_PREVIEW}")
    positions = AccountSnapshot.model_validate(approved.snapshot).positions
    if held_shares(positions) != held_shares(current.snapshot.positions):
        raise Refused("preview_moved", f"The account's positions have changed since the preview. {NEW_PREVIEW}")
    previewed = {quote.symbol: quote for quote in map(Quote.model_validate, approved.quotes)}
    quotes = current.quotes_by_symbol
    for trade in result.trades:
        _check_quote(previewed[trade.symbol], quotes.get(trade.symbol), policy.max_price_move_percent)
    if _quotes_are_valid(approved, now):
        return replace(current, result=result, quotes=tuple(previewed.values()))
    if found := plan_differences(result, current.result, policy.max_price_move_percent, policy.max_turnover_percent):
        message = "At current prices the plan differs from the approved one by more than its limits"
        raise Refused("plan_differs", f"{message}: {_listed(found)}. {NEW_PREVIEW}")
    return current


def _quotes_are_valid(approved: RebalanceRun, now: datetime) -> bool:
    """Whether the stored plan is executed as it is. One that does not wait for approval always is, if it is at all."""
    return approved.approval_until is None or (approved.plan_expires_at is not None and now < approved.plan_expires_at)


def _check_quote(previewed: Quote, current: Quote | None, max_price_move_percent: Decimal) -> None:
    symbol = previewed.symbol
    if current is None:
        raise Refused("preview_moved", f"There is no valid quote for {symbol} any more. {NEW_PREVIEW}")
    before, after = _mid(previewed), _mid(current)
    moved_percent = abs(after - before) / before * 100
    if moved_percent > max_price_move_percent:
        raise Refused(
            "preview_moved",
            f"{symbol} has moved by {percent(moved_percent, 2)} since the preview; the policy allows "
            f"{percent(max_price_move_percent, None)}. {NEW_PREVIEW}",
        )


def _mid(quote: Quote) -> Decimal:
    # Quotes of a plan are two-sided: the others were left out before it was made.
    return ((quote.bid or Decimal(0)) + (quote.ask or Decimal(0))) / 2


# ---- the limits of a plan that is made again


def plan_differences(
    approved: TradeCalculationResult,
    current: TradeCalculationResult,
    max_price_move_percent: Decimal,
    max_turnover_percent: Decimal,
) -> list[str]:
    """Return how the current plan differs from the approved one by more than the limits; empty if it does not."""
    share = max_price_move_percent / 100
    before, after = _lines(approved), _lines(current)
    found = []
    for symbol in sorted(before.keys() | after.keys()):
        line, quantity = before.get(symbol), after[symbol].quantity if symbol in after else 0
        if line is None:
            found.append(f"{symbol}: not in the approved plan, now {_order(quantity)}")
            continue
        limit = max(Decimal(1), share * max(Decimal(abs(line.quantity)), abs(line.held)))
        if abs(quantity - line.quantity) > limit or quantity * line.quantity < 0:
            found.append(f"{symbol}: approved {_order(line.quantity)}, now {_order(quantity)}")
    one_share_each = sum((line.quote_usd for line in after.values()), Decimal(0))
    allowed = max(
        approved.turnover_percent * (1 + share),
        approved.turnover_percent + one_share_each / current.plan.total_value_usd * 100,
    )
    is_above_policy = approved.turnover_percent <= max_turnover_percent < current.turnover_percent
    if current.turnover_percent > allowed or is_above_policy:
        found.append(
            f"turnover: approved {percent(approved.turnover_percent, 2)}, now {percent(current.turnover_percent, 2)}"
        )
    return found


def describe_changed_orders(approved: RebalanceRun, current: TradeCalculationResult) -> str:
    """Return the orders of the current plan that differ from the approved plan, as a sentence."""
    before = _lines(TradeCalculationResult.model_validate(approved.result))
    after = _lines(current)
    changes = [
        f"{symbol} {_order(line.quantity)} → {_order(after[symbol].quantity if symbol in after else 0)}"
        for symbol, line in sorted(before.items())
        if symbol not in after or after[symbol].quantity != line.quantity
    ]
    return f"Changed orders: {_listed(changes)}." if changes else "The quantities are unchanged."


def _lines(result: TradeCalculationResult) -> dict[str, PlanLine]:
    return {line.symbol: line for line in (*result.plan.sells, *result.plan.buys)}


def _order(quantity: int) -> str:
    if not quantity:
        return "no order"
    return f"{'SELL' if quantity < 0 else 'BUY'} {abs(quantity)}"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - DIFFERENCES_NAMED
    return "; ".join(texts[:DIFFERENCES_NAMED]) + (f"; and {more} more" if more > 0 else "")
