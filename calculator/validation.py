"""What is refused before anything is calculated. Nothing is guessed."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from decimal import Decimal

from calculator.errors import CalculationRefused
from calculator.plan_types import AccountConfig, AccountState, AllocationItem, Quote

NOTHING, SUM_TOLERANCE = Decimal(0), Decimal("0.000001")


def check_config(config: AccountConfig) -> None:
    """Refuses a policy that makes no sense."""
    if not 0 <= config.cash_reserve_percent < 100 or config.min_cash_usd < 0:
        raise CalculationRefused(
            "reserve_out_of_range",
            f"The cash reserve is {config.cash_reserve_percent} % and ${config.min_cash_usd}; it must be from 0 to "
            "less than 100 percent, and no negative amount.",
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
    """The wanted weights; refuses targets that nobody can have meant."""
    if not targets:
        raise CalculationRefused("no_targets", "There are no targets. Nothing is sold for an empty list.")
    weights = {target.symbol: target.weight for target in targets}
    if len(weights) < len(targets):
        twice = _twice(target.symbol for target in targets)
        raise CalculationRefused("duplicate_target", f"Twice in the targets: {', '.join(twice)}.")
    if min(weights.values()) < 0:
        negative = [symbol for symbol, weight in weights.items() if weight < 0]
        raise CalculationRefused("negative_weight", f"Negative weight: {', '.join(negative)}.")
    total = sum(weights.values(), NOTHING)
    if total > 1 + SUM_TOLERANCE:
        raise CalculationRefused("weights_above_one", f"The weights add up to {total.normalize():f}, more than 1.")
    return weights


def quotes_by_symbol(quotes: Sequence[Quote]) -> dict[str, Quote]:
    """The quotes; refuses two of one symbol: nobody knows which is right."""
    by_symbol = {quote.symbol: quote for quote in quotes}
    if len(by_symbol) < len(quotes):
        twice = _twice(quote.symbol for quote in quotes)
        raise CalculationRefused("duplicate_quote", f"Two quotes of: {', '.join(twice)}.")
    return by_symbol


def check_account(account: AccountState, wanted: Container[str], config: AccountConfig) -> None:
    """Refuses account data that is empty, short, or does not add up."""
    total = account.total_value_usd
    if total <= 0:
        raise CalculationRefused(
            "total_value_not_positive",
            f"The account's value is ${total}. Nothing is traded in an empty account.",
        )
    short = [position for position in account.positions if position.quantity < 0]
    refused = [p.symbol for p in short if config.shorts == "refuse" or (p.tradable and p.symbol in wanted)]
    if refused:
        raise CalculationRefused(
            "short_position", f"The account is short in {', '.join(sorted(refused))}. Close it by hand."
        )
    booked = sum(
        [position.quantity * (position.market_price or NOTHING) for position in account.positions], account.cash_usd
    )
    mismatch = abs(total - booked)
    if mismatch * 100 > config.max_data_mismatch_percent * total:
        raise CalculationRefused(
            "account_data_mismatch",
            f"Value ${total:.2f}, but cash and positions add up to ${booked:.2f}: the data is stale or not of this "
            "account. Try again in a minute.",
        )


def _twice(symbols: Iterable[str]) -> list[str]:
    return sorted(symbol for symbol, times in Counter(symbols).items() if times > 1)
