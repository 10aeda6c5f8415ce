"""The calculator's values: frozen, exact, and strict about what they take.

Units: money and prices in USD, quantities in shares (signed), weights as fractions of the account's value.
"""

import hashlib
import json
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST, PLACES = 15, 400


def _is_of_a_size(number: Decimal) -> bool:
    """Whether it can be calculated with; what no account can hold would take hours."""
    return not number or -PLACES <= int(number.as_tuple().exponent) <= number.adjusted() <= LARGEST


def _of_a_size(number: Decimal) -> Decimal:
    if not _is_of_a_size(number):
        raise ValueError(f"{number} is not below 1e{LARGEST + 1}, or has more than {PLACES} decimal places")
    return number


def _of_a_size_or_none(number: Decimal) -> Decimal:
    return number if number.is_finite() and _is_of_a_size(number) else Decimal("NaN")


Number = Annotated[Decimal, Field(allow_inf_nan=False), AfterValidator(_of_a_size)]
Side = Annotated[Decimal, Field(allow_inf_nan=True), AfterValidator(_of_a_size_or_none)]
"""A quote that is no number makes its symbol untradable; it must not make the whole account's plan invalid."""


# Found once, since a frozen value cannot be written to in the ordinary way.
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_names = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


@cache
def _names(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields)


class Value(BaseModel):
    """Frozen, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """A value whose fields are known to be right: all are given, in their order, of their types, for it alone.

        For what a plan has thousands of: checking it takes longer than finding it. Whatever comes from outside is made
        in the ordinary way, and checked.
        """
        value = object.__new__(cls)
        _set_fields(value, fields)
        _set_names(value, _names(cls))
        _set_extra(value, None)
        _set_private(value, None)
        return value


class AllocationItem(Value):
    """The wanted weight of a symbol."""

    symbol: str
    weight: Number


class Position(Value):
    """A symbol and its signed quantity; `market_price` is the broker's own mark.

    What is not `tradable` (no US stock or ETF) is carried under its `contract`, counted, and never matched.
    """

    symbol: str
    quantity: Number
    market_price: Number | None = None
    contract: str = ""
    tradable: bool = True


class AccountState(Value):
    """An account at one instant."""

    total_value_usd: Number
    cash_usd: Number
    positions: tuple[Position, ...] = ()


class Quote(Value):
    """Bid and ask of a symbol; None where there is none."""

    symbol: str
    bid: Side | None = None
    ask: Side | None = None
    tick_usd: Number = Decimal("0.01")


class Commission(Value):
    """What a broker charges for an order of n shares at price p.

    `rate`: rate * n * p. `per_share`: min(max(min_per_order, per_share * n), max_rate * n * p).
    """

    kind: Literal["rate", "per_share"] = "rate"
    rate: Number = Decimal("0.01")
    per_share: Number = Decimal("0.005")
    min_per_order: Number = Decimal(1)
    max_rate: Number = Decimal("0.01")


class AccountConfig(Value):
    """The policy of an account, as far as it concerns the calculation."""

    cash_reserve_percent: Number = Decimal(0)
    min_cash_usd: Number = Decimal(0)
    buy_slippage_percent: Number = Decimal("0.5")
    sell_slippage_percent: Number = Decimal("0.5")
    band_percent: Number = Decimal("0.5")
    commission: Commission = Commission()
    one_share: bool = True
    one_share_max_overshoot_percent: Number = Decimal(5)
    minimum_improvement_bps: Number = Decimal(10)
    unmanaged: Literal["sell", "keep", "ignore"] = "sell"
    shorts: Literal["refuse", "keep"] = "refuse"
    max_frozen_percent: Number = Decimal(10)
    max_data_mismatch_percent: Number = Decimal(2)


class Trade(Value):
    """One order of a plan: whole shares, negative to sell, with its limit."""

    symbol: str
    quantity: int
    order_type: Literal["LIMIT"] = "LIMIT"
    price: Number
    reason: str
    detail: str


class NotTraded(Value):
    """A symbol that is left alone, and why."""

    symbol: str
    reason: str
    detail: str


class CalculationWarning(Value):
    """Something a person should know, though there is a plan."""

    code: str
    message: str


class PlanLine(Trade):
    """A planned trade with all that it was sized on."""

    quote_usd: Number
    mark_usd: Number
    held: Number
    target_value_usd: Number

    def as_trade(self, quantity: int) -> Trade:
        """The order that it becomes when so many of its shares are traded."""
        return Trade(symbol=self.symbol, quantity=quantity, price=self.price, reason=self.reason, detail=self.detail)


class Plan(Value):
    """What `fit_buys` needs and a person approves: sells, buys, value, floor and the band decision, fixed once."""

    total_value_usd: Number
    floor_usd: Number
    cash_usd: Number
    sells: tuple[PlanLine, ...]
    buys: tuple[PlanLine, ...]
    commission: Commission
    band_lifted: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, in hexadecimal: the same plan has the same digest, on every machine."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Projection(Value):
    """Cash, L1 error (a fraction of the value) and weights, cash included as CASH."""

    cash: Decimal
    l1_error: Decimal
    weights: dict[str, Decimal]


class TradeCalculationResult(Value):
    """A plan, with a reason for everything that is traded and everything that is not."""

    trades: tuple[Trade, ...]
    not_traded: tuple[NotTraded, ...]
    warnings: tuple[CalculationWarning, ...]
    before: Projection
    expected: Projection
    target_weights: dict[str, Decimal]
    turnover_percent: Decimal
    residual_drift_before: Decimal
    residual_drift_expected: Decimal
    plan: Plan
