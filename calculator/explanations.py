"""The reason of every trade, and of every symbol that is not traded."""

from collections.abc import Mapping

from calculator.holdings import Holdings
from calculator.line import Line
from calculator.plan_types import CalculationWarning, Mode
from calculator.selection import RULE_DETAILS, Selection, leave_outside
from calculator.share_bounds import nearest_shares
from calculator.texts import clipped
from calculator.trade_sizes import SizedTrades

UNTRADED = {
    "at_target": "No whole share brings it closer to its target.",
    "last_share": "The last share of a target is kept.",
    "would_overshoot": "One more share would end too far above its target.",
    "not_enough_cash": "Not enough cash for one share.",
    "cost_exceeds_gain": "The trade would not improve the account by enough to pay for its cost.",
    "invest_sells_nothing": "Invested cash buys only, and it is not below its target.",
    "raise_buys_nothing": "The amount does not need it.",
    "no_cash_to_move": "Cash is neither above its target nor below the reserve.",
    "improvement_too_small": "All band trades together improve the account too little.",
}
BUYS_FORBIDDEN, SELLS_FORBIDDEN = {"held_by_rule", "no_buy_rule"}, {"held_by_rule", "no_sell_rule"}


def explain_trade(line: Line, shares: int, now: str, wanted: str, selection: Selection) -> tuple[str, str]:
    """Return the reason and the sentence of a trade; `now` and `wanted` are weights in percent."""
    weights = f"{now} % now, target {wanted} %."
    if selection.given_reasons.get(line.symbol) == "raises_cash":
        return "raises_cash", weights
    if reason := selection.given_reasons.get(line.symbol):
        return reason, RULE_DETAILS.get(reason, "Held, but not a target.")
    if shares > 0:
        if shares == 1 and line.symbol in selection.first_shares.chosen:
            return "one_share", f"{'Less than one share' if line.held else 'Not'} held; target {wanted} %."
        return "underweight", weights
    drift = line.value - line.target
    if abs(drift + shares * line.mark) > abs(drift):
        return "makes_room", f"{weights} Sold for the cash that others need."
    return "overweight", weights


def explain_the_rest(holdings: Holdings, selection: Selection, quantities: Mapping[str, int], mode: Mode) -> None:
    """Record the reason of every line that a plan which follows the cash does not trade."""
    explained = {item.symbol for item in selection.not_traded} | quantities.keys()
    raises = mode == "raise" or any(shares < 0 for shares in quantities.values())
    moves_nothing = mode == "flow" and not quantities and holdings.cash_floor <= holdings.cash <= holdings.cash_target
    for line in holdings.lines:
        if line.symbol in explained or not (line.is_target or line.held):
            continue
        if not line.is_target and (line.held < 0 or line.kept == line.whole_held):
            leave_outside(line, holdings, selection)
            continue
        if moves_nothing:
            reason = "no_cash_to_move"
        elif holdings.pins.get(line.symbol) in (SELLS_FORBIDDEN if raises else BUYS_FORBIDDEN):
            reason = holdings.pins[line.symbol]
        elif raises:
            reason = "raise_buys_nothing"
        elif line.value >= line.target:
            reason = "invest_sells_nothing"
        else:
            reason = "not_enough_cash"
        selection.leave_untraded(line.symbol, reason, RULE_DETAILS.get(reason) or UNTRADED[reason])


def explain_untraded(sized: SizedTrades, selection: Selection) -> None:
    """Record the reason of every free line that is not traded."""
    for i, (line, n) in enumerate(zip(selection.free, sized.state.shares, strict=True)):
        if n == line.whole_held:
            reason = _untraded_reason(sized, i, line)
            selection.leave_untraded(line.symbol, reason, UNTRADED[reason])


def _untraded_reason(sized: SizedTrades, i: int, line: Line) -> str:
    objective, state, near = sized.objective, sized.state, nearest_shares(line)
    if line.symbol in sized.held_back:
        return "improvement_too_small"
    if near < line.whole_held:
        return "last_share" if line.whole_held <= objective.minimum[i] else "cost_exceeds_gain"
    if near == line.whole_held:
        return "at_target"
    if objective.maximum[i] <= line.whole_held:
        return "would_overshoot"
    more = objective.changed(state, ((i, line.whole_held + 1),))
    is_payable = objective.is_feasible(more) and more.cash >= objective.money.cash_target
    return "cost_exceeds_gain" if is_payable else "not_enough_cash"


def skipped_shares(selection: Selection, quantities: Mapping[str, int]) -> list[CalculationWarning]:
    """Return a warning for each target that is promised one share and does not get any."""
    return [
        CalculationWarning(code="one_share_skipped", message=f"No share of {clipped(symbol)}: {why}.")
        for symbol, why in selection.first_shares.skipped.items()
        if symbol not in quantities
    ]
