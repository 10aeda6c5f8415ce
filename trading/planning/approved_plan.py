"""Execute exactly the plan that a user approved, or refuse."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from brokers.broker_types import AccountSnapshot
from calculator import Quote, TradeCalculationResult
from calculator.formats import percent
from trading.errors import NeedsAttention, Refused
from trading.journal.orders import OrderView
from trading.models import RebalanceRun
from trading.planning.account_state import held_shares
from trading.planning.proposal import Proposal
from trading.planning.targets import as_json

NEW_PREVIEW = "Nothing was sent. Make a new preview."


def match_approved(
    approved: RebalanceRun, current: Proposal, sent: Sequence[OrderView], max_price_move_percent: Decimal
) -> Proposal:
    """Return the approved plan in place of the current one, if the account, targets and quotes still match it.

    Args:
        approved: the preview whose plan the user approved.
        current: targets, account, quotes and plan as they are now.
        sent: orders of an earlier attempt of this run.
        max_price_move_percent: maximum change of a quote since the preview.

    Raises:
        Refused: targets, positions or quotes have changed; nothing was sent.
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
    if approved.targets != as_json(current.targets):
        raise Refused("preview_moved", f"The strategy's targets have changed since the preview. {NEW_PREVIEW}")
    positions = AccountSnapshot.model_validate(approved.snapshot).positions
    if held_shares(positions) != held_shares(current.snapshot.positions):
        raise Refused("preview_moved", f"The account's positions have changed since the preview. {NEW_PREVIEW}")
    previewed = {quote.symbol: quote for quote in map(Quote.model_validate, approved.quotes)}
    quotes = current.quotes_by_symbol
    for trade in result.trades:
        _check_quote(previewed[trade.symbol], quotes.get(trade.symbol), max_price_move_percent)
    return replace(current, result=result, quotes=tuple(previewed.values()))


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
