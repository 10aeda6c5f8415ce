"""Refuse invalid policies, targets, quotes and account data before anything is calculated."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from decimal import Decimal

from calculator.errors import CalculationRefused
from calculator.plan_types import AccountConfig, AccountState, AllocationItem, Quote

ZERO, SUM_TOLERANCE = Decimal(0), Decimal("0.000001")


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
        "buy_slippage_percent": config.buy_slippage_percent,
        "sell_slippage_percent": config.sell_slippage_percent,
        "band_percent": config.band_percent,
        "minimum_improvement_bps": config.minimum_improvement_bps,
        "one_share_max_overshoot_percent": config.one_share_max_overshoot_percent,
        "commission": min(commission.rate, commission.per_share, commission.min_per_order, commission.max_rate),
    }
    if negative := [name for name, number in numbers.items() if number < 0]:
        raise CalculationRefused("negative_offset", f"Negative in the policy: {', '.join(negative)}.")


def weights_by_symbol(targets: Sequence[AllocationItem]) -> dict[str, Decimal]:
    """Return the target weights by symbol; refuse an empty list, duplicates, negative weights and sums above 1."""
    if not targets:
        raise CalculationRefused("no_targets", "There are no targets. Nothing is sold because of an empty list.")
    weights = {target.symbol: target.weight for target in targets}
    if len(weights) < len(targets):
        duplicates = _duplicates(target.symbol for target in targets)
        raise CalculationRefused("duplicate_target", f"Duplicate targets: {', '.join(duplicates)}.")
    if min(weights.values()) < 0:
        negative = [symbol for symbol, weight in weights.items() if weight < 0]
        raise CalculationRefused("negative_weight", f"Negative weight: {', '.join(negative)}.")
    total = sum(weights.values(), ZERO)
    if total > 1 + SUM_TOLERANCE:
        raise CalculationRefused("weights_above_one", f"The weights add up to {total.normalize():f}, more than 1.")
    return weights


def quotes_by_symbol(quotes: Sequence[Quote]) -> dict[str, Quote]:
    """Return the quotes by symbol; refuse two quotes of one symbol, because either may be wrong."""
    by_symbol = {quote.symbol: quote for quote in quotes}
    if len(by_symbol) < len(quotes):
        duplicates = _duplicates(quote.symbol for quote in quotes)
        raise CalculationRefused("duplicate_quote", f"Duplicate quotes: {', '.join(duplicates)}.")
    return by_symbol


def check_account(account: AccountState, wanted: Container[str], config: AccountConfig) -> None:
    """Refuse account data without value, with a short position, or that does not add up."""
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
            "short_position", f"The account has a short position in {', '.join(sorted(refused))}. Close it manually."
        )
    booked = sum(
        [position.quantity * (position.market_price or ZERO) for position in account.positions], account.cash_usd
    )
    mismatch = abs(total - booked)
    if mismatch * 100 > config.max_data_mismatch_percent * total:
        raise CalculationRefused(
            "account_data_mismatch",
            f"The account value is ${total:.2f}, but cash and positions add up to ${booked:.2f}. The data is stale or "
            "belongs to another account. Try again in a minute.",
        )


def _duplicates(symbols: Iterable[str]) -> list[str]:
    return sorted(symbol for symbol, times in Counter(symbols).items() if times > 1)
