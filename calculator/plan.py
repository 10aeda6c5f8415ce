"""`plan()` fixes sells, buys, limits, cash floor and the band decision; `fit_buys()` reduces the buys to the cash."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from calculator.explanations import explain_the_rest, explain_trade, explain_untraded, skipped_shares
from calculator.fit_buys import fit_buys
from calculator.fixed_point import CENT, ONE_CENT, fraction, from_micro, percents, to_micro
from calculator.formats import money, percent
from calculator.holdings import Holdings, make_holdings
from calculator.invest import invest
from calculator.line import ZERO, Line
from calculator.plan_types import (
    AccountConfig,
    AccountState,
    AllocationItem,
    CalculationWarning,
    Mode,
    Plan,
    PlanLine,
    Quote,
    SymbolRule,
    Trade,
    TradeCalculationResult,
)
from calculator.projection import Projector
from calculator.raise_cash import raise_cash
from calculator.selection import Selection, select, start_selection
from calculator.texts import clipped
from calculator.trade_sizes import size_trades
from calculator.validation import (
    check_account,
    check_config,
    check_mode,
    quotes_by_symbol,
    rules_by_symbol,
    weights_by_symbol,
)

PERCENT_PLACES = Decimal("0.0001")
SUM_TOLERANCE = Decimal("0.000001")
"""Difference of the sum of weights from 1 that needs no warning."""

_Traded = tuple[int, Line, int]
"""A traded line: its value at the quote in micro-dollars, the line, and the signed shares."""


class TradeCalculator:
    """Plan the trades that bring an account to its targets."""

    def __init__(self, config: AccountConfig) -> None:
        self._config = config

    def plan(
        self,
        account: AccountState,
        targets: Sequence[AllocationItem],
        quotes: Sequence[Quote],
        *,
        rules: Sequence[SymbolRule] = (),
        mode: Mode = "full",
        raise_usd: Decimal | None = None,
    ) -> TradeCalculationResult:
        """Return the plan, with a reason for every symbol that is traded or not traded.

        Args:
            account: value, cash and positions, in USD and shares.
            targets: weights as fractions; the remainder to 1 stays in cash.
            quotes: bid and ask by symbol; a symbol without a valid quote is not traded.
            rules: the rules in force, at most one for each symbol.
            mode: what the plan does.
            raise_usd: the amount of cash that `raise` has to leave above the reserves; None in the other modes.

        Raises:
            CalculationRefused: there is no plan; nothing may be traded.
        """
        check_config(self._config)
        check_mode(mode, raise_usd)
        weights, by_symbol = weights_by_symbol(targets), quotes_by_symbol(quotes)
        check_account(account, weights, by_symbol, self._config)
        raised = to_micro(raise_usd or ZERO)
        holdings = make_holdings(account, weights, by_symbol, self._config, rules_by_symbol(rules), raised)
        decided = _sized(holdings) if mode == "full" else _following_cash(holdings, mode)
        _explain_zero_weights(targets, decided)
        return _result(holdings, decided, mode, raise_usd)

    @staticmethod
    def fit_buys(plan: Plan, cash_usd: Decimal) -> tuple[Trade, ...]:
        """Return the planned buys if `cash_usd` pays for them, else the best smaller set of the same symbols."""
        return fit_buys(plan, cash_usd)


class _Decided(NamedTuple):
    """The reason for every symbol, signed shares by symbol, and the cash afterwards in micro-dollars."""

    selection: Selection
    quantities: dict[str, int]
    cash: int


def _sized(holdings: Holdings) -> _Decided:
    """Bring everything to its target."""
    selection = select(holdings)
    sized = size_trades(holdings, selection)
    quantities = {symbol: -shares for symbol, shares in selection.liquidate.items()}
    for line, n in zip(selection.free, sized.state.shares, strict=True):
        if n != line.whole_held:
            quantities[line.symbol] = n - line.whole_held
    explain_untraded(sized, selection)
    return _Decided(selection, quantities, sized.state.cash)


def _following_cash(holdings: Holdings, mode: Mode) -> _Decided:
    """Only buy, or only sell, depending on the mode; a flow does what the cash asks for."""
    selection = start_selection(holdings)
    if mode == "raise" or (mode == "flow" and holdings.cash < holdings.cash_floor):
        quantities, cash = raise_cash(holdings, selection)
    elif mode == "invest" or holdings.cash > holdings.cash_target:
        quantities, cash = invest(holdings, selection)
    else:
        quantities, cash = {}, holdings.cash
    explain_the_rest(holdings, selection, quantities, mode)
    return _Decided(selection, quantities, cash)


def _result(holdings: Holdings, decided: _Decided, mode: Mode, raise_usd: Decimal | None) -> TradeCalculationResult:
    """Return the full result."""
    selection, quantities, cash = decided
    projector = Projector(holdings)
    before, drift_before = projector.after({}, holdings.cash)
    expected, drift_expected = projector.after(quantities, cash)
    sells, buys = _trades(holdings, quantities)
    plan = _plan(holdings, selection, sells, buys, mode, raise_usd)
    return TradeCalculationResult.trusted(
        {
            "trades": (*plan.sells, *plan.buys),
            "not_traded": tuple(sorted(selection.not_traded, key=lambda item: item.symbol)),
            "warnings": (*selection.warnings, *skipped_shares(selection, quantities), *_warnings(holdings, cash)),
            "before": before,
            "expected": expected,
            "target_weights": projector.target_weights,
            "turnover_percent": _turnover_percent(sells, buys, holdings.total),
            "residual_drift_before": drift_before,
            "residual_drift_expected": drift_expected,
            "plan": plan,
        }
    )


def _trades(holdings: Holdings, quantities: Mapping[str, int]) -> tuple[list[_Traded], list[_Traded]]:
    """Return sells and buys, each sorted with the largest first."""
    sells: list[_Traded] = []
    buys: list[_Traded] = []
    for line in holdings.lines:
        shares = quantities.get(line.symbol, 0)
        if shares > 0:
            buys.append((shares * line.ask, line, shares))
        elif shares:
            sells.append((-shares * line.bid, line, shares))
    sells.sort(key=itemgetter(0), reverse=True)  # ties stay sorted by symbol
    buys.sort(key=itemgetter(0), reverse=True)
    return sells, buys


def _turnover_percent(sells: Iterable[_Traded], buys: Iterable[_Traded], total: int) -> Decimal:
    """Return the larger of the value sold and the value bought, in percent of the account value."""
    larger = max(sum(value for value, _, _ in trades) for trades in (sells, buys))
    return fraction(larger * 100, total).quantize(PERCENT_PLACES)


def _plan(
    holdings: Holdings,
    selection: Selection,
    sells: Sequence[_Traded],
    buys: Sequence[_Traded],
    mode: Mode,
    raise_usd: Decimal | None,
) -> Plan:
    return Plan.trusted(
        {
            "total_value_usd": from_micro(holdings.total),
            "floor_usd": from_micro(holdings.cash_floor),
            "cash_usd": from_micro(holdings.cash),
            "sells": _plan_lines(sells, holdings.total, selection),
            "buys": _plan_lines(buys, holdings.total, selection),
            "commission": holdings.config.commission,
            "band_lifted": selection.band_lifted,
            "cash_target_usd": from_micro(holdings.cash_target),
            "mode": mode,
            "raise_usd": raise_usd,
            "rules": tuple(rule for _, rule in sorted(holdings.rules.items())),
        }
    )


def _plan_lines(trades: Sequence[_Traded], total: int, selection: Selection) -> tuple[PlanLine, ...]:
    now = percents([line.value for _, line, _ in trades], total)
    wanted = percents([line.target for _, line, _ in trades], total)
    return tuple(
        [
            _plan_line(line, shares, its_now, its_wanted, selection)
            for (_, line, shares), its_now, its_wanted in zip(trades, now, wanted, strict=True)
        ]
    )


def _plan_line(line: Line, shares: int, now: str, wanted: str, selection: Selection) -> PlanLine:
    """Return a trade with its reason; `now` and `wanted` are weights in percent."""
    if shares > 0:
        limit, quote = line.buy_limit, line.ask
    else:
        limit, quote = line.sell_limit, line.bid
    reason, detail = explain_trade(line, shares, now, wanted, selection)
    return PlanLine.trusted(
        {
            "symbol": line.symbol,
            "quantity": shares,
            "order_type": "LIMIT",
            "price": _price(limit),
            "reason": reason,
            "detail": detail,
            "quote_usd": _price(quote),
            "mark_usd": from_micro(line.mark),
            "held": line.held,
            "target_value_usd": from_micro(line.target),
        }
    )


def _price(micro: int) -> Decimal:
    """Return USD with two places if the price is in whole cents, exact otherwise."""
    cents, rest = divmod(micro, CENT)
    return from_micro(micro).normalize() if rest else ONE_CENT * cents


def _explain_zero_weights(targets: Iterable[AllocationItem], decided: _Decided) -> None:
    """Record the targets of weight 0 that no position needs a reason for."""
    selection = decided.selection
    explained = {item.symbol for item in selection.not_traded} | decided.quantities.keys()
    for target in targets:
        if not target.weight and target.symbol not in explained:
            selection.leave_untraded(target.symbol, "zero_weight", "The target weight is 0.")


def _warnings(holdings: Holdings, cash: int) -> list[CalculationWarning]:
    """Return the warnings; `cash` is the cash after the trades, in micro-dollars."""
    warnings = []
    total = sum([line.weight for line in holdings.lines], Decimal(0))
    told = clipped(percent(total * 100, None))
    if total > 1 + SUM_TOLERANCE:
        warnings.append(
            CalculationWarning(
                code="weights_scaled",
                message=f"The target weights add up to {told}; all are scaled so that they add up to 100%.",
            )
        )
    if total < 1 - SUM_TOLERANCE:
        warnings.append(
            CalculationWarning(
                code="weights_below_one",
                message=f"The target weights add up to {told}; the remainder stays in cash.",
            )
        )
    if cash < holdings.cash_floor:
        warnings.append(
            CalculationWarning(
                code="cash_below_reserve",
                message=f"Cash after the trades is {money(from_micro(cash))}, below the reserve of "
                f"{money(from_micro(holdings.cash_floor))}.",
            )
        )
    return warnings
