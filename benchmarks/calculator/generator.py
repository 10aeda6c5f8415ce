"""Generate realistic accounts from a seed: small and large, valid and damaged, with low-priced and high-priced shares.

They have reserves, bands, three commission models, fractional shares, missing and crossed quotes, debit balances, positions
that are no longer targets, weights that sum to less than one or by rounding to a little more, weights of zero, and weights of
almost zero.
"""

import random
from dataclasses import dataclass
from decimal import Decimal

from calculator import AccountConfig, AccountState, AllocationItem, Commission, Position, Quote

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Case:
    """An account with its targets, quotes and policy."""

    account: AccountState
    targets: list[AllocationItem]
    quotes: list[Quote]
    config: AccountConfig


def make_case(seed: int, symbols: int | None = None) -> Case:
    """Return an account of $1.6k to $5M with 3 to 60 targets and share prices of $5 to $7,000."""
    rng = random.Random(f"account {seed} {symbols}")
    size = symbols or rng.choice([3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60])
    names = [f"S{i:04d}" for i in range(size)]
    value = Decimal(str(round(10 ** rng.uniform(3.2, 6.7), 2)))
    if symbols and symbols > 60:
        value *= symbols
    prices = {name: Decimal(str(round(5 * 10 ** (rng.betavariate(1.3, 2.2) * 3.146), 2))) for name in names}
    quotes = [_quote(rng, name, price) for name, price in prices.items() if rng.random() > 0.005]
    weights = _weights(rng, names)
    positions, invested = [], Decimal(0)
    for name in names:
        if rng.random() < 0.8:
            drift = Decimal(str(round(rng.gauss(1, rng.choice([0.02, 0.1, 0.5])), 4)))
            shares = (value * weights[name] * max(drift, Decimal(0)) / prices[name]).quantize(Decimal(1))
            if rng.random() < 0.05:
                shares += Decimal("0.5")
            if shares > 0:
                positions.append(Position(symbol=name, quantity=shares, market_price=prices[name]))
                invested += shares * prices[name]
    if rng.random() < 0.3:
        price = Decimal(str(round(rng.uniform(10, 400), 2)))
        shares = (value * Decimal("0.05") / price).quantize(Decimal(1))
        if shares > 0:
            positions.append(Position(symbol="GONE", quantity=shares, market_price=price))
            quotes.append(_quote(rng, "GONE", price))
            invested += shares * price
    cash = (value * Decimal(str(round(rng.choice([0.003, 0.02, 0.1, 0.4]) * rng.random(), 6)))).quantize(CENT)
    config = _config(rng)
    if rng.random() < 0.03:
        cash = -cash / 10  # a debit balance
    if rng.random() < 0.03:
        crossed = rng.randrange(len(quotes))
        quotes[crossed] = quotes[crossed].model_copy(update={"bid": quotes[crossed].ask + CENT})
    weights = _unusual(seed, weights)
    return Case(
        account=AccountState(total_value_usd=invested + cash, cash_usd=cash, positions=tuple(positions)),
        targets=[AllocationItem(symbol=name, weight=weight) for name, weight in weights.items()],
        quotes=quotes,
        config=config,
    )


def _quote(rng: random.Random, name: str, price: Decimal) -> Quote:
    half = max(price * Decimal(rng.choice([1, 2, 5, 15])) / 20_000, CENT / 2)
    bid = (price - half).quantize(CENT, "ROUND_FLOOR")
    return Quote(symbol=name, bid=max(bid, CENT), ask=max((price + half).quantize(CENT, "ROUND_CEILING"), bid + CENT))


def _weights(rng: random.Random, names: list[str]) -> dict[str, Decimal]:
    parts = [rng.expovariate(1) + 0.15 for _ in names]
    whole = sum(parts) / rng.choice([1, 1, 1, 0.9, 0.7])
    return {name: Decimal(str(round(part / whole - 1e-7, 6))) for name, part in zip(names, parts, strict=True)}


def _unusual(seed: int, weights: dict[str, Decimal]) -> dict[str, Decimal]:
    """Return the weights of the account: of some accounts one is zero, a few are noise, or all sum to more than one."""
    rng = random.Random(f"unusual weights {seed}")
    changed = dict(weights)
    if rng.random() < 0.05:
        changed[rng.choice(sorted(changed))] = Decimal(0)
    if rng.random() < 0.05:
        changed |= dict.fromkeys(rng.sample(sorted(changed), 2), Decimal("0.00000001"))
    if rng.random() < 0.05 and changed == weights:
        above = Decimal(1) + Decimal(rng.randint(1, 5)) / 10_000
        whole = sum(weights.values())
        changed = {
            name: (weight / whole * above).quantize(Decimal("0.0000001"), "ROUND_FLOOR")
            for name, weight in weights.items()
        }
    return changed


def _config(rng: random.Random) -> AccountConfig:
    commission = rng.choice(
        [
            Commission(kind="rate", rate=Decimal("0.01")),
            Commission(kind="rate", rate=Decimal(0)),
            Commission(kind="per_share"),
        ]
    )
    return AccountConfig(
        cash_reserve_percent=Decimal(rng.choice(["0", "0.5", "2", "5"])),
        min_cash_usd=Decimal(rng.choice(["0", "100"])),
        buy_slippage_percent=Decimal(rng.choice(["0", "0.5", "1"])),
        sell_slippage_percent=Decimal("0.5"),
        band_percent=Decimal(rng.choice(["0", "0.1", "0.5"])),
        commission=commission,
        minimum_improvement_bps=Decimal(0),
        one_share=rng.random() < 0.85,
    )
