"""Value objects of trading: event payloads, the documents stored with a run, and command results."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from trading.error_codes import GUARDS, Guard, OnFail


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


class EventData(BaseModel):
    """The payload of an event. Unknown fields are ignored, because publishers add their own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    exec: str = Field(min_length=1, max_length=32)
    account_id: str | None = Field(default=None, max_length=64)
    event_id: str | None = Field(default=None, max_length=160, validation_alias=AliasChoices("event_id", "eventId"))
    times_queued: int | None = Field(default=None, ge=0)
    created_at: datetime | None = None
    data: Any = None

    @field_validator("account_id", mode="before")
    @classmethod
    def _blank_is_an_error(cls, value: object) -> object:
        # An empty account id must not widen an event to all accounts.
        if isinstance(value, str) and not value.strip():
            message = "account_id is empty; leave it out to mean every account of the strategy"
            raise ValueError(message)
        return value

    @field_validator("event_id", mode="before")
    @classmethod
    def _numbers_are_ids(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


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


class AccountExecutionResult(TradingValue):
    """The outcome of an event for one account."""

    account_id: str
    run_id: str
    state: str
    error: ErrorLine | None


class StrategyExecutionResult(TradingValue):
    """The outcome of an event for each account."""

    event_id: int
    strategy: str
    state: str
    reason: str
    accounts: tuple[AccountExecutionResult, ...]
