"""Refuse invalid policies, targets, quotes and account data before anything is calculated."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal

from calculator.errors import CalculationRefused
from calculator.holdings import mark_usd
from calculator.plan_types import AccountConfig, AccountState, AllocationItem, Mode, Quote, SymbolRule
from calculator.texts import clipped, listed

ZERO = Decimal(0)
LARGEST_SUM = Decimal("1.0005")
"""Sum of weights up to which more than 1 is the rounding of their source, and is scaled to 1."""
PERCENT = 10, 110
"""Sums of weights that look like percent."""


def check_config(config: AccountConfig) -> None:
    """Refuse a policy with values out of range."""
    if not 0 <= config.cash_reserve_percent < 100 or config.min_cash_usd < 0:
        raise CalculationRefused(
            "reserve_out_of_range",
            f"The cash reserve is {config.cash_reserve_percent} % and ${config.min_cash_usd}. Set it to at least 0 and "
            "less than 100 percent, and to an amount that is not negative.",
        )
    commission = config.commission
    numbers = {
        "set_aside_usd": config.set_aside_usd,
        "minimum_trade_usd": config.minimum_trade_usd,
        "buy_slippage_percent": config.buy_slippage_percent,
        "sell_slippage_percent": config.sell_slippage_percent,
        "band_percent": config.band_percent,
        "minimum_improvement_bps": config.minimum_improvement_bps,
        "one_share_max_overshoot_percent": config.one_share_max_overshoot_percent,
        "one_share_min_weight_percent": config.one_share_min_weight_percent,
        "commission": min(commission.rate, commission.per_share, commission.min_per_order, commission.max_rate),
    }
    if negative := [name for name, number in numbers.items() if number < 0]:
        raise CalculationRefused("negative_offset", f"Negative in the policy: {', '.join(negative)}.")


def weights_by_symbol(targets: Sequence[AllocationItem]) -> dict[str, Decimal]:
    """Return the weights of the targets by symbol, as given; a target of weight 0 is no target.

    Raises:
        CalculationRefused: `no_targets`, `duplicate_target`, `negative_weight`, `weights_above_one`.
    """
    if not targets:
        raise CalculationRefused("no_targets", "There are no targets. Nothing is sold because of an empty list.")
    weights = {target.symbol: target.weight for target in targets}
    if len(weights) < len(targets):
        duplicates = _duplicates(target.symbol for target in targets)
        raise CalculationRefused("duplicate_target", f"Duplicate targets: {listed(duplicates)}.")
    if min(weights.values()) < 0:
        negative = [symbol for symbol, weight in weights.items() if weight < 0]
        raise CalculationRefused("negative_weight", f"Negative weight: {listed(negative)}.")
    total = sum(weights.values(), ZERO)
    if total > LARGEST_SUM:
        told = clipped(f"{total.normalize():f}")
        looks_like_percent = PERCENT[0] <= total <= PERCENT[1]
        hint = f"{told} looks like percent: publish fractions of 1." if looks_like_percent else "Correct the targets."
        raise CalculationRefused("weights_above_one", f"The weights add up to {told}, more than 1. {hint}")
    if not total:
        raise CalculationRefused("no_targets", "All weights are 0. Nothing is sold because of an empty list.")
    return {symbol: weight for symbol, weight in weights.items() if weight}


def quotes_by_symbol(quotes: Sequence[Quote]) -> dict[str, Quote]:
    """Return the quotes by symbol; refuse two quotes of one symbol, because either may be wrong."""
    by_symbol = {quote.symbol: quote for quote in quotes}
    if len(by_symbol) < len(quotes):
        duplicates = _duplicates(quote.symbol for quote in quotes)
        raise CalculationRefused("duplicate_quote", f"Duplicate quotes: {listed(duplicates)}.")
    return by_symbol


def check_mode(mode: Mode, raise_usd: Decimal | None) -> None:
    """Refuse an amount that is missing, not above zero, or given to a mode that has none."""
    if (mode == "raise") != (raise_usd is not None) or (raise_usd is not None and raise_usd <= 0):
        raise CalculationRefused(
            "invalid_amount", "Cash is raised for an amount above 0; the other modes have no amount."
        )


def rules_by_symbol(rules: Sequence[SymbolRule]) -> dict[str, SymbolRule]:
    """Return the rules by symbol.

    Raises:
        CalculationRefused: `duplicate_rule`, `invalid_range`.
    """
    by_symbol = {rule.symbol: rule for rule in rules}
    if len(by_symbol) < len(rules):
        duplicates = _duplicates(rule.symbol for rule in rules)
        raise CalculationRefused("duplicate_rule", f"More than one rule for {listed(duplicates)}. Keep one of each.")
    if wrong := [symbol for symbol, rule in sorted(by_symbol.items()) if not _has_valid_bounds(rule)]:
        raise CalculationRefused(
            "invalid_range",
            f"The bounds of the rule for {listed(wrong)} are not valid. A range needs a minimum, a maximum or both, "
            "not negative, and the minimum at most the maximum; other rules have none.",
        )
    return by_symbol


def _has_valid_bounds(rule: SymbolRule) -> bool:
    bounds = [bound for bound in (rule.minimum_shares, rule.maximum_shares) if bound is not None]
    if rule.rule != "range":
        return not bounds
    return bool(bounds) and min(bounds) >= 0 and bounds[0] <= bounds[-1]


def check_account(
    account: AccountState, wanted: Container[str], quotes: Mapping[str, Quote], config: AccountConfig
) -> None:
    """Refuse account data without value, with a short position, or that does not add up.

    A position without a mark counts with the mid of its quote, if that is valid.
    """
    total = account.total_value_usd
    if total <= 0:
        raise CalculationRefused(
            "total_value_not_positive",
            f"The account's value is ${total}. Nothing is traded in an empty account.",
        )
    short = [position for position in account.positions if position.quantity < 0 and not position.is_cash]
    refused = [p.symbol for p in short if config.shorts == "refuse" or (p.tradable and p.symbol in wanted)]
    if refused:
        raise CalculationRefused(
            "short_position", f"The account has a short position in {listed(sorted(refused))}. Close it manually."
        )
    marks = [mark_usd(position, quotes) for position in account.positions]
    booked = sum(
        [p.quantity * (mark or ZERO) for p, mark in zip(account.positions, marks, strict=True)], account.cash_usd
    )
    mismatch = abs(total - booked)
    if mismatch * 100 > config.max_data_mismatch_percent * total:
        raise CalculationRefused(
            "account_data_mismatch",
            f"The account value is ${total:.2f}, but cash and positions add up to ${booked:.2f}. "
            f"{_cause(account, marks)}",
        )


def _cause(account: AccountState, marks: Sequence[Decimal | None]) -> str:
    """Return why account data does not add up, and what to do."""
    unpriced = [p.symbol for p, mark in zip(account.positions, marks, strict=True) if mark is None and p.quantity]
    if unpriced:
        return f"These positions have no price and no valid quote: {listed(unpriced)}. Try again when they have one."
    return "The data is stale or belongs to another account. Try again in a minute."


def _duplicates(symbols: Iterable[str]) -> list[str]:
    return sorted(symbol for symbol, times in Counter(symbols).items() if times > 1)
