"""Targets of a strategy: read from a response of the allocations service, and checked whatever their source."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from accounts.cash_names import cash_name_problem, reads_like_cash
from accounts.refusal_text import problem_sentences, quoted
from accounts.target_weights import short_number, sum_problem
from accounts.validators import SYMBOL_PATTERN
from calculator import AllocationItem, CalculationRefused, ReplacementLimits, ReplacementRule, apply_replacements
from calculator.texts import listed
from trading.common.strict_json import JsonObject, read_json
from trading.errors import Refused, RunFailed
from trading.models.run_documents import RunWarning
from trading.planning.target_times import means_never, read_time

SILENT_EXCESS = Decimal("0.000001")
"""Largest excess that is scaled without a note: the rounding of binary fractions."""
SCALED_PLACES = Decimal("1e-12")
MAX_DECIMAL_PLACES = 400
_SYMBOL = re.compile(SYMBOL_PATTERN)


def _weight(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_DECIMAL_PLACES or value.adjusted() > 3:
        raise ValueError("is not a fraction between 0 and 1")
    return value


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("is true or false, not a number")  # noqa: TRY004 - pydantic reports ValueError only
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Allocation(_Part):
    symbol: str = Field(validation_alias=AliasChoices("ticker", "symbol"))
    allocation: Annotated[Decimal, Field(allow_inf_nan=False), BeforeValidator(_no_boolean), AfterValidator(_weight)]


class _Data(_Part):
    strategy: str | None = None
    as_of: Any = None
    updated_at: Any = None
    allocations: tuple[Any, ...]


class _Response(_Part):
    status: str | None = None
    data: _Data


class StrategyTargets(NamedTuple):
    """The targets of a strategy, when they last changed if their source reports it, and notes for the run."""

    items: tuple[AllocationItem, ...]
    as_of: datetime | None
    warnings: tuple[RunWarning, ...] = ()


def parse_allocations(body: bytes, strategy: str, stocks: Collection[str] = ()) -> StrategyTargets:
    """Read a response of the allocations service.

    Args:
        body: the response.
        strategy: name of the strategy that was requested.
        stocks: symbols that mean the stock although they read like cash.

    Raises:
        RunFailed: any part of it is invalid. No part of it is used.
    """
    try:
        content = read_json(body, number=_number)
    except ValueError as error:
        raise RunFailed("allocations_not_json", "The response of the allocations service is not JSON.") from error
    try:
        response = _Response.model_validate(content)
    except ValidationError as error:
        raise _wrong_shape(problem_sentences(error.errors(), "its root")[0]) from error
    _check_repeated(content, content["data"])
    if response.status is not None and response.status != "success":
        raise RunFailed(
            "allocations_http_error", f"The allocations service answered with status {quoted(response.status)}."
        )
    if response.data.strategy is not None and response.data.strategy != strategy:
        raise RunFailed(
            "allocations_wrong_strategy",
            f"The allocations service answered for {quoted(response.data.strategy)}, not {strategy!r}.",
        )
    rows = [_row(row, number) for number, row in enumerate(response.data.allocations, start=1)]
    as_of, note = _told_time(response.data)
    return check_targets(rows, stocks, as_of=as_of, warnings=note)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond any range
        return Decimal("NaN")


def _wrong_shape(problem: str) -> RunFailed:
    return RunFailed(
        "allocations_wrong_shape", f"The response of the allocations service has the wrong shape: {problem}."
    )


def _check_repeated(*objects: JsonObject) -> None:
    for each in objects:
        if each.repeated:
            raise _wrong_shape(f"it repeats the key {quoted(each.repeated[0])}")


def _row(row: Any, number: int) -> tuple[str, Decimal]:
    if not isinstance(row, JsonObject):
        raise _wrong_shape(f"allocation {number} is not an object")
    _check_repeated(row)
    name = row.get("ticker", row.get("symbol"))
    if row.get("symbol", name) != name:
        raise _wrong_shape(f"allocation {number} has a ticker and another symbol")
    label = quoted(name) if isinstance(name, str) else str(number)
    try:
        item = _Allocation.model_validate(row)
    except ValidationError as error:
        raise _wrong_shape(f"allocation {label}: {problem_sentences(error.errors(), 'it')[0]}") from error
    if item.allocation < 0:
        raise RunFailed("allocations_negative", f"The allocation of {label} is {quoted(item.allocation)}.")
    symbol = item.symbol.strip()  # other alphabets have letters whose upper case is ASCII
    return symbol.upper() if symbol.isascii() else symbol, item.allocation


def _told_time(data: _Data) -> tuple[datetime | None, tuple[RunWarning, ...]]:
    """Return the time of the targets, or none with a note if a time is given that cannot be read."""
    told = [value for value in (data.as_of, data.updated_at) if not means_never(value)]
    as_of = next((moment for value in told if (moment := read_time(value))), None)
    if as_of is not None or not told:
        return as_of, ()
    text = f"The time of the targets, {quoted(told[0])}, cannot be read. Their age is not checked."
    return None, (RunWarning(code="targets_time_unreadable", message=text),)


def check_targets(
    rows: Sequence[tuple[str, Decimal]],
    stocks: Collection[str] = (),
    *,
    as_of: datetime | None = None,
    warnings: tuple[RunWarning, ...] = (),
) -> StrategyTargets:
    """Return the targets if they can be traded, whatever their source. A sum just above 1 is scaled to 1, with a note.

    Args:
        rows: symbols and weights.
        stocks: symbols that mean the stock although they read like cash.
        as_of: when they last changed.
        warnings: notes of their source.

    Raises:
        RunFailed: a symbol is invalid, reads like cash or occurs twice, or the sum of the weights is 0 or above 1.
    """
    if not rows:
        raise RunFailed(
            "allocations_empty", "The strategy has no allocations. Positions are not sold for an empty list."
        )
    if problem := cash_name_problem(rows, stocks):
        raise RunFailed("allocations_cash_name", f"{problem} Nothing was sent.")
    rows = [(symbol, weight) for symbol, weight in rows if symbol in stocks or not reads_like_cash(symbol)]
    symbols = [symbol for symbol, _ in rows]
    if wrong := [symbol for symbol in symbols if not _SYMBOL.fullmatch(symbol)]:
        raise _wrong_shape(f"{quoted(wrong[0])} is not a symbol")
    if twice := sorted(name for name, count in Counter(symbols).items() if count > 1):
        raise RunFailed("allocations_duplicate", f"The allocations contain these symbols twice: {listed(twice)}.")
    total = sum((weight for _, weight in rows), Decimal(0))
    if too_much := sum_problem(total):
        raise RunFailed("allocations_above_one", too_much)
    if total <= 0:
        raise RunFailed("allocations_empty", "All allocations are zero. Positions are not sold for an empty list.")
    if total > 1 + SILENT_EXCESS:
        text = f"The weights add up to {short_number(total)}. They are scaled to a sum of 1."
        warnings = (*warnings, RunWarning(code="targets_scaled", message=text))
    items = (AllocationItem(symbol=symbol, weight=_scaled(weight, total)) for symbol, weight in rows)
    return StrategyTargets(tuple(items), as_of, warnings)


def replaced_targets(
    items: Sequence[AllocationItem],
    rules: Sequence[ReplacementRule],
    limits: ReplacementLimits,
    stocks: Collection[str] = (),
) -> tuple[AllocationItem, ...]:
    """Return the targets after replacements.

    Args:
        items: checked targets of a strategy.
        rules: the account's replacement rules.
        limits: the policy's limits of their effect.
        stocks: symbols that mean the stock although they read like cash.

    Raises:
        Refused: the rules cannot be applied, or one of them leads to a symbol that reads like cash.
    """
    try:
        replaced = tuple(apply_replacements(items, rules, limits).items)
    except CalculationRefused as refusal:
        raise Refused(refusal.code, refusal.message) from refusal
    if problem := cash_name_problem([(item.symbol, item.weight) for item in replaced], stocks):
        raise Refused("allocations_cash_name", f"{problem} It comes from a replacement rule.")
    return replaced


def _scaled(weight: Decimal, total: Decimal) -> Decimal:
    """Return the weight; scaled if the sum of the weights is above 1."""
    return weight if total <= 1 else (weight / total).quantize(SCALED_PLACES, ROUND_DOWN).normalize()


def as_json(items: Iterable[AllocationItem]) -> list[Mapping[str, Any]]:
    """Return targets as they are stored on a run."""
    return [{"symbol": item.symbol, "weight": f"{item.weight:f}"} for item in items]
