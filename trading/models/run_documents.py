"""Value objects of trading: event payloads, the documents stored with a run, and command results."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from accounts.refusal_text import id_from_number, quoted
from calculator.plan_types import CASH
from trading.error_codes import GUARDS, Guard, OnFail

FORMER_CASH = "CASH"
MAX_EVENT_ID = 160
"""Maximum length of a stored event id, in characters."""


class TradingValue(BaseModel):
    """Immutable; rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExecCommand(StrEnum):
    """Value of `exec` in an event, as transmitted."""

    REBALANCE = "rebalance"
    PRINT_REBALANCE = "print-rebalance"


class Unreadable(TradingValue):
    """A payload that could not be decoded. It is stored as received and never acted on."""

    content: str
    why: str


ACCOUNT_KEYS = ("account_id", "accountId")
"""Keys of an event that limit it to one account."""
_ACCOUNT_LIKE = ("account", "acct")


class EventData(BaseModel):
    """The payload of an event.

    Unknown keys are ignored, because publishers add their own; `created_at`, `times_queued` and `data` are kept as
    they are, because nothing depends on them. A key that reads like an account but is not one of `ACCOUNT_KEYS` is
    refused: ignored, it would widen the event to all accounts of the strategy.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    exec: str = Field(min_length=1, max_length=32)
    account_id: str | None = Field(default=None, max_length=64)
    event_id: str | None = Field(default=None, validation_alias=AliasChoices("event_id", "eventId"))
    times_queued: Any = None
    created_at: Any = None
    data: Any = None

    @model_validator(mode="before")
    @classmethod
    def _one_account(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        for key in content:
            letters = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(key)).casefold())
            if letters.startswith(_ACCOUNT_LIKE) and key not in ACCOUNT_KEYS:
                raise ValueError(f"unknown key {quoted(key)}; name one account as `account_id`, or leave the key out")
        named = {str(content[key]): content[key] for key in ACCOUNT_KEYS if content.get(key) is not None}
        if len(named) > 1:
            raise ValueError("account_id and accountId name different accounts")
        others = {key: value for key, value in content.items() if key not in ACCOUNT_KEYS}
        return others | {"account_id": next(iter(named.values()), None)}

    @field_validator("account_id", mode="before")
    @classmethod
    def _id_of_one_account(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            # An empty account id must not widen an event to all accounts.
            raise ValueError("is empty; leave it out to mean every account of the strategy")
        if value is None or isinstance(value, str):
            return value
        return id_from_number(value)

    @field_validator("event_id", mode="before")
    @classmethod
    def _any_event_id(cls, value: object) -> str | None:
        if value is None:
            return None
        return (value if isinstance(value, str) else json.dumps(value, default=str))[:MAX_EVENT_ID]


def stored_weights(content: Mapping[str, Any] | None) -> dict[str, Decimal]:
    """Return weights that were stored by symbol, as fractions; cash is under `CASH`.

    Weights that were stored before cash had a key of its own have it under "CASH".
    """
    weights = {symbol: Decimal(weight) for symbol, weight in (content or {}).items()}
    if CASH not in weights and FORMER_CASH in weights:
        weights[CASH] = weights.pop(FORMER_CASH)
    return weights


class GuardResult(TradingValue):
    """The result of one guard."""

    code: str
    passed: bool
    message: str
    not_before: datetime | None = None

    @property
    def guard(self) -> Guard:
        """The guard's row in the table of all guards."""
        return GUARDS[self.code]

    @property
    def needs_approval(self) -> bool:
        """Whether the guard failed and a user can overrule it by approving the plan."""
        return not self.passed and self.guard.on_fail is OnFail.HOLD


class RunWarning(TradingValue):
    """A problem that did not stop the run."""

    code: str
    message: str


class PDTExecutionInfo(TradingValue):
    """One session in which the account was rebalanced."""

    run_id: str
    session_date: str
    first_order_at: datetime


class PDTCheckResult(TradingValue):
    """The result of the trade guard for an account."""

    allowed: bool
    regime: str
    message: str
    next_allowed_at: datetime | None = None
    executions: tuple[PDTExecutionInfo, ...] = ()
    day_trades_used: int | None = None


class TradeLine(TradingValue):
    """One trade of a plan, as printed by the commands. Quantity: negative for a sell."""

    symbol: str
    quantity: int
    order_type: str
    price: Decimal | None
    reason: str


class OrderLine(TradingValue):
    """One order of a run, as printed by the commands. Quantities: negative for a sell."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    quantity: int
    filled_quantity: int
    average_price: Decimal | None
    status: str


class ErrorLine(TradingValue):
    """The error of a run or of an API request."""

    code: str
    message: str


class CalculateRebalanceResult(TradingValue):
    """A preview: the trades that a rebalance would make."""

    run_id: str
    account_id: str
    mode: Literal["preview", "execute"]
    state: str
    outcome: str
    error: ErrorLine | None
    plan_hash: str
    trades: tuple[TradeLine, ...]
    warnings: tuple[RunWarning, ...]
    total_value: Decimal | None
    cash_balance: Decimal | None
    residual_drift: Decimal | None


class RebalanceResult(CalculateRebalanceResult):
    """A run: its planned trades and its orders."""

    orders: tuple[OrderLine, ...]


class ApprovalReason(TradingValue):
    """Why a plan waits for approval: the code of a guard, or of the event."""

    code: str
    message: str


class WaitingPlan(TradingValue):
    """A plan that waits for a user's approval, as printed by the commands. Values in USD at the plan's quotes."""

    run_id: str
    account_id: str
    strategy: str
    mode: Literal["preview", "execute"]
    plan_hash: str
    reasons: tuple[ApprovalReason, ...]
    waiting_since: datetime
    approval_until: datetime
    sells: int
    buys: int
    sell_value: Decimal
    buy_value: Decimal
    turnover_percent: Decimal
    requested_by: str | None


class AccountExecutionResult(TradingValue):
    """The outcome of an event for one account."""

    account_id: str
    run_id: str
    state: str
    outcome: str
    error: ErrorLine | None


class StrategyExecutionResult(TradingValue):
    """The outcome of an event for each account."""

    event_id: int
    strategy: str
    state: str
    reason: str
    accounts: tuple[AccountExecutionResult, ...]
