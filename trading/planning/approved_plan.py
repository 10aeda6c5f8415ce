"""Executing what a person approved: that plan, or nothing."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from accounts.policies import FrozenPolicy
from brokers.broker_types import AccountSnapshot
from calculator import Quote, TradeCalculationResult
from trading.errors import NeedsAttention, Refused
from trading.journal.orders import OrderView
from trading.planning.account_state import held_shares
from trading.planning.allocations import as_json
from trading.planning.proposal import Proposal
from trading.planning.run_context import ApprovedPlan

NEW_PREVIEW = "Nothing was sent. Make a new preview."


def match_approved(
    approved: ApprovedPlan, fresh: Proposal, sent: Sequence[OrderView], policy: FrozenPolicy
) -> Proposal:
    """The approved plan in place of a fresh one, if the world is still the one it was made for.

    Args:
        approved: what the person saw.
        fresh: targets, account, quotes and plan as they are now.
        sent: orders of an earlier attempt at this run.
        policy: how far quotes may have moved.

    Raises:
        Refused: targets, positions or quotes have moved; nothing was sent.
        NeedsAttention: some of the plan was sent before the run was interrupted; a person decides about the rest.
    """
    if any(order.filled_quantity for order in sent):
        raise NeedsAttention(
            "preview_moved",
            "The run was interrupted after some orders of the approved plan had filled. Preview the account again "
            "to see what is left to do.",
        )
    result = TradeCalculationResult.model_validate(approved.result)
    if result.plan.digest != approved.digest:
        raise Refused("plan_hash_mismatch", f"The stored plan is not the one that was approved. {NEW_PREVIEW}")
    if approved.targets != as_json(fresh.targets):
        raise Refused("preview_moved", f"The strategy's targets have changed since the preview. {NEW_PREVIEW}")
    if held_shares(AccountSnapshot.model_validate(approved.snapshot)) != held_shares(fresh.snapshot):
        raise Refused("preview_moved", f"The account's positions have changed since the preview. {NEW_PREVIEW}")
    then = {quote.symbol: quote for quote in map(Quote.model_validate, approved.quotes)}
    _check_quotes(result, then, {quote.symbol: quote for quote in fresh.quotes}, policy)
    return replace(fresh, result=result, quotes=tuple(then.values()))


def _check_quotes(
    result: TradeCalculationResult, then: dict[str, Quote], now: dict[str, Quote], policy: FrozenPolicy
) -> None:
    limit = policy.max_price_move_percent
    for trade in result.trades:
        if trade.symbol not in now:
            raise Refused("preview_moved", f"There is no good quote of {trade.symbol} any more. {NEW_PREVIEW}")
        before, after = _mid(then[trade.symbol]), _mid(now[trade.symbol])
        moved_percent = abs(after - before) / before * 100
        if moved_percent > limit:
            raise Refused(
                "preview_moved",
                f"{trade.symbol} has moved by {moved_percent:.2f} % since the preview; "
                f"{limit.normalize():f} % are allowed. {NEW_PREVIEW}",
            )


def _mid(quote: Quote) -> Decimal:
    # Quotes of a plan are two-sided: the others were left out before it was made.
    return ((quote.bid or Decimal(0)) + (quote.ask or Decimal(0))) / 2
