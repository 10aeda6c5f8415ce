"""`plan()` fixes sells, buys, limits, reserve and the band decision, once; `fit_buys()` cuts the buys to real cash."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from calculator.checks import check_account, check_config, check_quotes, check_targets
from calculator.fit_buys import fit_buys
from calculator.holdings import Holdings, Line, make_holdings
from calculator.money import MICRO, ONE_CENT, fraction, from_micro, percent
from calculator.outlook import CASH, cash_after, l1_with_cost, outlook, residual_drift
from calculator.selection import Selection, select
from calculator.sizing import Sizing
from calculator.valuation import Money
from calculator.values import (
    AccountConfig,
    AccountState,
    AllocationItem,
    CalculationWarning,
    Plan,
    PlanLine,
    Quote,
    Trade,
    TradeCalculationResult,
)

PERCENT_PLACES = Decimal("0.0001")


class TradeCalculator:
    """Plans the trades that bring an account to its targets."""

    def __init__(self, config: AccountConfig) -> None:
        self._config = config

    def plan(
        self, account: AccountState, targets: Sequence[AllocationItem], quotes: Sequence[Quote]
    ) -> TradeCalculationResult:
        """The plan, with a reason for everything that is traded and everything that is not.

        Args:
            account: value, cash and positions, in USD and shares.
            targets: weights as fractions; what they leave out stays in cash.
            quotes: bid and ask by symbol; a symbol without a valid one is left alone.

        Raises:
            CalculationRefused: there is no plan, and nothing may be traded.
        """
        check_config(self._config)
        check_targets(targets)
        check_quotes(quotes)
        check_account(account, targets, self._config)
        holdings = make_holdings(account, targets, quotes, self._config)
        selection = select(holdings)
        moved = _size(holdings, selection)
        moved = _keep_only_improvements(holdings, selection, moved)
        return _result(holdings, selection, moved, targets)

    @staticmethod
    def fit_buys(plan: Plan, cash_usd: Decimal) -> tuple[Trade, ...]:
        """The planned buys if the cash pays them, else the best smaller set; never another symbol, never more."""
        return fit_buys(plan, cash_usd)


def _size(holdings: Holdings, selection: Selection) -> dict[str, int]:
    """Signed shares by symbol."""
    liquidated = {symbol: -shares for symbol, shares in selection.liquidate.items()}
    cash = cash_after(holdings, liquidated, worst=False)
    money = Money(total=holdings.total, cash=cash, floor=holdings.floor, cash_target=holdings.cash_target)
    shares = Sizing(selection.free, selection.least, money, holdings.config.commission).run()
    moved = {line.symbol: n - line.whole_held for line, n in zip(selection.free, shares, strict=True)}
    return {**liquidated, **{symbol: n for symbol, n in moved.items() if n}}


def _keep_only_improvements(holdings: Holdings, selection: Selection, moved: dict[str, int]) -> dict[str, int]:
    """Drops the band trades if together they improve the account by less than the policy asks for."""
    if not holdings.config.minimum_improvement_bps:
        return moved
    held_back = {
        symbol: shares
        for symbol, shares in moved.items()
        if symbol in selection.liquidate or symbol in selection.one_share
    }
    kept = {symbol: 1 if symbol in selection.one_share else shares for symbol, shares in held_back.items()}
    if kept == moved:
        return moved
    if any(n > 0 for n in kept.values()) and cash_after(holdings, kept, worst=True) < holdings.floor:
        return moved  # without the band's sells the one-share buys could not be paid
    without, with_all = l1_with_cost(holdings, kept), l1_with_cost(holdings, moved)
    if (without - with_all) * 10_000 < holdings.config.minimum_improvement_bps * holdings.total:
        for symbol in sorted(moved.keys() - kept.keys()):
            selection.leave(
                symbol,
                "improvement_too_small",
                "All band trades together would improve the account too little.",
            )
        return kept
    return moved


def _result(
    holdings: Holdings, selection: Selection, moved: Mapping[str, int], targets: Sequence[AllocationItem]
) -> TradeCalculationResult:
    _explain_the_rest(selection, moved)
    cash = cash_after(holdings, moved, worst=False)
    before, expected = outlook(holdings, {}, holdings.cash), outlook(holdings, moved, cash)
    wanted = {line.symbol: fraction(line.target, holdings.total) for line in holdings.lines if line.is_target}
    wanted[CASH] = fraction(holdings.cash_target, holdings.total)
    plan = _plan(holdings, selection, moved)
    return TradeCalculationResult(
        trades=(*plan.sells, *plan.buys),
        not_traded=tuple(sorted(selection.not_traded, key=lambda item: item.symbol)),
        warnings=(*selection.warnings, *_warnings(holdings, cash, targets)),
        before=before,
        expected=expected,
        target_weights=wanted,
        turnover_percent=_turnover_percent(holdings, moved),
        residual_drift_before=residual_drift(before.weights, wanted),
        residual_drift_expected=residual_drift(expected.weights, wanted),
        plan=plan,
    )


def _plan(holdings: Holdings, selection: Selection, moved: Mapping[str, int]) -> Plan:
    """Sells and buys, each the largest first."""
    lines = [line for line in holdings.lines if moved.get(line.symbol)]
    lines.sort(key=lambda line: -abs(_traded(line, moved[line.symbol])))  # of the same size: by symbol, as they come
    planned = [_plan_line(line, moved[line.symbol], holdings, selection) for line in lines]
    return Plan(
        total_value_usd=from_micro(holdings.total),
        floor_usd=from_micro(holdings.floor),
        cash_usd=from_micro(holdings.cash),
        sells=tuple(line for line in planned if line.quantity < 0),
        buys=tuple(line for line in planned if line.quantity > 0),
        commission=holdings.config.commission,
        band_lifted=selection.band_lifted,
    )


def _traded(line: Line, shares: int) -> int:
    """What the shares cost, or with a minus bring, at the quote."""
    return shares * (line.ask if shares > 0 else line.bid)


def _turnover_percent(holdings: Holdings, moved: Mapping[str, int]) -> Decimal:
    """The larger of what is sold and what is bought, in percent of the account's value."""
    traded = [_traded(line, moved[line.symbol]) for line in holdings.lines if line.symbol in moved]
    bought = sum(value for value in traded if value > 0)
    return fraction(max(bought, bought - sum(traded)) * 100, holdings.total).quantize(PERCENT_PLACES)


def _plan_line(line: Line, shares: int, holdings: Holdings, selection: Selection) -> PlanLine:
    wanted = percent(line.target, holdings.total)
    if line.symbol in selection.liquidate:
        reason, detail = "not_a_target", "It is held and is no target."
    elif line.symbol in selection.one_share and shares == 1:
        reason, detail = "one_share", f"Missing; its target is {wanted} %."
    else:
        reason = "underweight" if shares > 0 else "overweight"
        detail = f"{percent(line.value, holdings.total)} % now, target {wanted} %."
    limit, quote = (line.buy_limit, line.ask) if shares > 0 else (line.sell_limit, line.bid)
    return PlanLine.trusted(
        symbol=line.symbol,
        quantity=shares,
        order_type="LIMIT",
        price=_price(limit),
        reason=reason,
        detail=detail,
        quote_usd=_price(quote),
        mark_usd=from_micro(line.mark),
        held=line.held,
        target_value_usd=from_micro(line.target),
    )


def _price(micro: int) -> Decimal:
    """In cents where it is on the cent grid, as people write it; exact otherwise."""
    cents, rest = divmod(micro, MICRO // 100)
    return from_micro(micro).normalize() if rest else Decimal(cents) * ONE_CENT


def _explain_the_rest(selection: Selection, moved: Mapping[str, int]) -> None:
    explained = {item.symbol for item in selection.not_traded} | moved.keys()
    for line in selection.free:
        if line.symbol in explained:
            continue
        short = line.target - line.value >= line.mark
        if short:
            selection.leave(line.symbol, "not_enough_cash", "There is no money for a share of it.")
        else:
            selection.leave(line.symbol, "at_target", "No whole share brings it nearer to its target.")


def _warnings(holdings: Holdings, cash: int, targets: Sequence[AllocationItem]) -> list[CalculationWarning]:
    """What a person should know; `cash` in micro-dollars after the trades."""
    warnings = []
    total = sum((target.weight for target in targets), Decimal(0))
    if total < Decimal("0.999999"):
        warnings.append(
            CalculationWarning(
                code="weights_below_one",
                message=f"The weights add up to {total.normalize():f}; the rest stays in cash.",
            )
        )
    if cash < holdings.floor:
        warnings.append(
            CalculationWarning(
                code="cash_below_reserve",
                message=f"After the trades cash is ${from_micro(cash):.2f}, below the reserve of "
                f"${from_micro(holdings.floor):.2f}.",
            )
        )
    return warnings
