"""Input and output types of the calculator: frozen, exact and strict.

Units: money and prices in USD, quantities in shares (signed), weights as fractions of the account's value.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from calculator.texts import clipped

LARGEST, PLACES = 15, 400
CASH = "$CASH"
"""Key of cash beside symbols; no symbol can have it, while stocks are listed as CASH and USD."""


def _is_in_range(number: Decimal) -> bool:
    """Return whether a number is in a range that accounts can have; arithmetic beyond it could take hours."""
    return not number or -PLACES <= int(number.as_tuple().exponent) <= number.adjusted() <= LARGEST


def _in_range(number: Decimal) -> Decimal:
    if not _is_in_range(number):
        raise ValueError(f"{clipped(number)} is not below 1e{LARGEST + 1}, or has more than {PLACES} decimal places")
    return number


def _in_range_or_nan(number: Decimal) -> Decimal:
    return number if number.is_finite() and _is_in_range(number) else Decimal("NaN")


def _not_cash(symbol: str) -> str:
    if symbol == CASH:
        raise ValueError(f"{CASH} is the key of cash, not a symbol")
    return symbol


Symbol = Annotated[str, AfterValidator(_not_cash)]
Number = Annotated[Decimal, Field(allow_inf_nan=False), AfterValidator(_in_range)]
Side = Annotated[Decimal, Field(allow_inf_nan=True), AfterValidator(_in_range_or_nan)]
"""Bid or ask. A value that is not a number makes its symbol untradable, not the whole plan invalid."""


@cache
def _names(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields)


class Value(BaseModel):
    """Base class: frozen, unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """Return a value without validation; all fields are given, in order, with their types.

        For the thousands of values that the calculator makes itself: validating them takes longer than finding them.
        The four attributes are those that `BaseModel.model_construct` sets, without its loop over the fields.
        """
        value = cls.__new__(cls)
        set_attribute = object.__setattr__  # the class is frozen
        set_attribute(value, "__dict__", fields)
        set_attribute(value, "__pydantic_fields_set__", _names(cls))
        set_attribute(value, "__pydantic_extra__", None)
        set_attribute(value, "__pydantic_private__", None)
        return value


class AllocationItem(Value):
    """Target weight of a symbol, a fraction in [0, 1]."""

    symbol: Symbol
    weight: Number


class Position(Value):
    """A symbol and its signed quantity; `market_price` is the broker's mark.

    A position that is not `tradable` (another contract than an order for the symbol would trade) is identified by its
    `contract`, counted, and never matched with a target. With `is_cash` it is an amount in another currency; a negative
    one is a debt, and no short position.
    """

    symbol: Symbol
    quantity: Number
    market_price: Number | None = None
    contract: str = ""
    tradable: bool = True
    is_cash: bool = False


class AccountState(Value):
    """An account at one instant."""

    total_value_usd: Number
    cash_usd: Number
    positions: tuple[Position, ...] = ()


class Quote(Value):
    """Bid and ask of a symbol; None if the side is missing."""

    symbol: str
    bid: Side | None = None
    ask: Side | None = None
    tick_usd: Number = Decimal("0.01")


class Commission(Value):
    """Commission of an order of n shares at price p.

    `rate`: rate * n * p. `per_share`: min(max(min_per_order, per_share * n), max_rate * n * p).
    """

    kind: Literal["rate", "per_share"] = "rate"
    rate: Number = Decimal("0.01")
    per_share: Number = Decimal("0.005")
    min_per_order: Number = Decimal(1)
    max_rate: Number = Decimal("0.01")


class SymbolRule(Value):
    """A rule for one symbol, for as long as it is in force.

    `hold`: never traded. `no_buy`, `no_sell`: traded in the other direction only. `close`: sold, whatever its target.
    `range`: at least `minimum_shares` and at most `maximum_shares`; a part of a share counts as a whole one at the
    minimum, and not at the maximum.
    """

    symbol: Symbol
    rule: Literal["hold", "no_buy", "no_sell", "close", "range"]
    minimum_shares: Number | None = None
    maximum_shares: Number | None = None


Mode = Literal["full", "invest", "raise", "flow"]
"""What a plan does: everything to its target; only buys, with the cash above its target; only sells, for an amount of
cash; or the one of these two that the cash asks for."""
OutsideModel = Literal["sell", "keep", "ignore", "ask"]
"""What happens to a position that is no target: it is sold; kept; not even counted; or kept until a user decides."""


class AccountConfig(Value):
    """The part of an account's policy that the calculation uses."""

    cash_reserve_percent: Number = Decimal(0)
    min_cash_usd: Number = Decimal(0)
    buy_slippage_percent: Number = Decimal("0.5")
    sell_slippage_percent: Number = Decimal("0.5")
    band_percent: Number = Decimal("0.5")
    commission: Commission = Commission()
    one_share: bool = True
    one_share_max_overshoot_percent: Number = Decimal(5)
    one_share_min_weight_percent: Number = Decimal("0.05")
    minimum_improvement_bps: Number = Decimal(10)
    outside_model: OutsideModel = Field("sell", validation_alias=AliasChoices("outside_model", "unmanaged"))
    outside_model_of: Mapping[str, OutsideModel] = Field(default_factory=dict)
    set_aside_usd: Number = Decimal(0)
    minimum_trade_usd: Number = Decimal(0)
    shorts: Literal["refuse", "keep"] = "refuse"
    max_frozen_percent: Number = Decimal(10)
    max_data_mismatch_percent: Number = Decimal(2)


class Trade(Value):
    """One order of a plan: signed whole shares (negative sells) and the limit price."""

    symbol: str
    quantity: int
    order_type: Literal["LIMIT"] = "LIMIT"
    price: Number
    reason: str
    detail: str


class NotTraded(Value):
    """A symbol that is not traded, with the reason."""

    symbol: str
    reason: str
    detail: str


class CalculationWarning(Value):
    """A condition to review that does not prevent the plan."""

    code: str
    message: str


class PlanLine(Trade):
    """A planned trade with the values it was sized from."""

    quote_usd: Number
    mark_usd: Number
    held: Number
    target_value_usd: Number

    def as_trade(self, quantity: int) -> Trade:
        """Return the order for `quantity` of the planned shares."""
        return Trade(symbol=self.symbol, quantity=quantity, price=self.price, reason=self.reason, detail=self.detail)


LATER_FIELDS = {"cash_target_usd": None, "mode": "full", "raise_usd": None, "rules": ()}
"""Fields of a plan that plans stored before they existed do not contain, with what such a plan has in their place."""


class Plan(Value):
    """The trades that a user approves and `fit_buys` reads: sells, buys, value, cash floor and target, band decision.

    Plans that were stored before the field existed have no `cash_target_usd`. What is as it always was is left out of
    the text and the hash, so that the hashes of stored plans are unchanged.
    """

    total_value_usd: Number
    floor_usd: Number
    cash_usd: Number
    sells: tuple[PlanLine, ...]
    buys: tuple[PlanLine, ...]
    commission: Commission
    band_lifted: bool
    cash_target_usd: Number | None = None
    mode: Mode = "full"
    raise_usd: Number | None = None
    rules: tuple[SymbolRule, ...] = ()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        same = {name for name, default in LATER_FIELDS.items() if getattr(self, name) == default}
        return {name: value for name, value in fields.items() if name not in same}

    @property
    def plan_hash(self) -> str:
        """Return the SHA-256 of the plan in hexadecimal; equal plans have equal hashes on every machine."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Projection(Value):
    """Cash in USD, L1 error (a fraction of the account value) and weights by symbol, cash under `CASH`."""

    cash: Decimal
    l1_error: Decimal
    weights: dict[str, Decimal]


class TradeCalculationResult(Value):
    """A plan, with a reason for every symbol that is traded or not traded."""

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
