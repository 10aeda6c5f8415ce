"""JSON lines interface of the calculator: one object per input line, one per output line, in the same order."""

import json
import traceback
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pydantic import Field, ValidationError, field_validator

from calculator.errors import CalculationRefused
from calculator.plan import TradeCalculator
from calculator.plan_types import (
    AccountConfig,
    AccountState,
    AllocationItem,
    Mode,
    Number,
    Plan,
    Position,
    Quote,
    SymbolRule,
    TradeCalculationResult,
    Value,
)
from calculator.texts import clipped

LONGEST_CAUSE = 200
"""Maximum characters of the cause in a message about an invalid line."""


class _Account(Value):
    total_value: Number
    cash: Number
    positions: tuple[Position, ...] = ()


class _PlanRequest(Value):
    id: Any = None
    account: _Account
    targets: tuple[AllocationItem, ...]
    quotes: tuple[Quote | None, ...] = ()
    constraints: AccountConfig = Field(default_factory=AccountConfig)
    rules: tuple[SymbolRule, ...] = ()
    mode: Mode = "full"
    raise_usd: Number | None = None


class _FitBuysRequest(Value):
    id: Any = None
    plan: Plan
    cash: Number

    @field_validator("plan")
    @classmethod
    def _buys_can_be_bought(cls, plan: Plan) -> Plan:
        if any(buy.quantity <= 0 or min(buy.price, buy.quote_usd, buy.mark_usd) <= 0 for buy in plan.buys):
            raise ValueError("a buy has no shares or no prices")
        return plan


def answer_plan(line: str | bytes) -> str:
    """Return the answer to one line of `python -m calculator plan`."""
    return _answer(line, _plan)


def answer_fit_buys(line: str | bytes) -> str:
    """Return the answer to one line of `python -m calculator fit-buys`."""
    return _answer(line, _fit_buys)


def _answer(line: str | bytes, work: Callable[[Any], dict[str, Any]]) -> str:
    identity = None
    try:
        # Numbers are read as decimals: 0.1 is exactly a tenth.
        request = json.loads(line, parse_float=Decimal)
        if isinstance(request, dict):
            identity = request.get("id")
        content = work(request)
    except ValidationError as error:
        first = error.errors()[0]
        where = _place(request, first["loc"]) or "the line"
        content = {"error": {"code": "invalid_input", "message": f"{where}: {clipped(first['msg'], LONGEST_CAUSE)}."}}
    except (ValueError, RecursionError) as error:
        content = {
            "error": {"code": "invalid_input", "message": f"The line is not JSON: {clipped(error, LONGEST_CAUSE)}."}
        }
    except CalculationRefused as refusal:
        content = {"error": {"code": refusal.code, "message": refusal.message}}
    except Exception:  # noqa: BLE001 - an entry point: one bad line must not stop the lines that follow
        traceback.print_exc()
        message = "Unexpected error; see standard error."
        content = {"error": {"code": "internal_error", "message": message}}
    return json.dumps({"id": identity, **content}, default=_text)


def _place(request: Any, keys: Sequence[int | str]) -> str:
    """Return where a value is, with the symbol of each row on the way: `targets.3 (VTI).weight`."""
    parts, value = [], request
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        symbol = value.get("symbol") if isinstance(value, dict) else None
        parts.append(clipped(key) if symbol is None else f"{clipped(key)} ({clipped(symbol)})")
    return ".".join(parts)


def _plan(content: Any) -> dict[str, Any]:
    request = _PlanRequest.model_validate(content)
    account = AccountState(
        total_value_usd=request.account.total_value,
        cash_usd=request.account.cash,
        positions=request.account.positions,
    )
    quotes = [quote for quote in request.quotes if quote is not None]
    return _result(
        TradeCalculator(request.constraints).plan(
            account,
            request.targets,
            quotes,
            rules=request.rules,
            mode=request.mode,
            raise_usd=request.raise_usd,
        )
    )


def _result(result: TradeCalculationResult) -> dict[str, Any]:
    return result.model_dump(
        mode="json",
        include={"trades", "not_traded", "warnings", "expected", "before", "turnover_percent", "plan"},
    )


def _fit_buys(content: Any) -> dict[str, Any]:
    request = _FitBuysRequest.model_validate(content)
    buys = TradeCalculator.fit_buys(request.plan, request.cash)
    return {"buys": [{"symbol": buy.symbol, "quantity": buy.quantity} for buy in buys]}


def _text(value: object) -> str:
    return str(value)
