"""Prices: a smooth walk that is a pure function of seed, symbol and time, the same in every process."""

import hashlib
import math
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

CENT = Decimal("0.01")
PERIODS_SECONDS = (47, 311, 3_607, 43_201, 604_801, 3_456_001, 20_736_001)
"""Waves of these lengths add up to the walk; the longer, the higher."""


def quote_at(
    seed: int,
    symbol: str,
    base_price_usd: Decimal,
    spread_bps: Decimal,
    volatility_percent: Decimal,
    instant: datetime,
) -> tuple[Decimal, Decimal]:
    """Bid and ask in USD, on the cent grid; always 0 < bid < ask."""
    mid = base_price_usd * (1 + volatility_percent / 100 * _wander(seed, symbol, instant))
    half = max(mid * spread_bps / 20_000, CENT / 2)
    bid = max((mid - half).quantize(CENT, ROUND_FLOOR), CENT)
    return bid, max((mid + half).quantize(CENT, ROUND_CEILING), bid + CENT)


def _wander(seed: int, symbol: str, instant: datetime) -> Decimal:
    """Between -1 and 1."""
    seconds = instant.astimezone(UTC).timestamp()
    total = weight = 0.0
    for level, period in enumerate(PERIODS_SECONDS, start=1):
        phase = _phase(seed, symbol, level)
        total += level * math.sin(2 * math.pi * (seconds / period + phase))
        weight += level
    return Decimal(str(round(total / weight, 6)))


def _phase(seed: int, symbol: str, level: int) -> float:
    digest = hashlib.sha256(f"{seed}:{symbol}:{level}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
