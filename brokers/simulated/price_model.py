"""Prices as a smooth, pure function of seed, symbol and time, equal in every process."""

import hashlib
import math
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

CENT = Decimal("0.01")
PERIODS_SECONDS = (47, 311, 3_607, 43_201, 604_801, 3_456_001, 20_736_001)
"""Periods of the sine waves whose sum is the price; longer waves have higher amplitudes."""


def quote_at(
    seed: int, symbol: str, base_price_usd: Decimal, spread_bps: Decimal, volatility_percent: Decimal, instant: datetime
) -> tuple[Decimal, Decimal]:
    """Return bid and ask in USD, rounded to cents, with 0 < bid < ask."""
    mid = base_price_usd * (1 + volatility_percent / 100 * _wave_sum(seed, symbol, instant))
    half = max(mid * spread_bps / 20_000, CENT / 2)
    bid = max((mid - half).quantize(CENT, ROUND_FLOOR), CENT)
    return bid, max((mid + half).quantize(CENT, ROUND_CEILING), bid + CENT)


def _wave_sum(seed: int, symbol: str, instant: datetime) -> Decimal:
    """Return a value between -1 and 1."""
    seconds = instant.astimezone(UTC).timestamp()
    total = weight = 0.0
    for level, period in enumerate(PERIODS_SECONDS, start=1):
        digest = hashlib.sha256(f"{seed}:{symbol}:{level}".encode()).digest()
        phase = int.from_bytes(digest[:6], "big") / 2**48
        total += level * math.sin(2 * math.pi * (seconds / period + phase))
        weight += level
    return Decimal(str(round(total / weight, 6)))
