"""The shapes at the edges of trading."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator


class TradingValue(BaseModel):
    """Frozen, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExecCommand(StrEnum):
    """`exec` of an event, as it is on the wire."""

    REBALANCE = "rebalance"
    PRINT_REBALANCE = "print-rebalance"


class Unreadable(TradingValue):
    """What a door could not decode: kept as it came, and never acted on."""

    content: str
    why: str


class EventData(BaseModel):
    """The payload of an event. Unknown fields are left alone: publishers add their own."""

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
    """What one guard said."""

    code: str
    passed: bool
    message: str
    not_before: datetime | None = None


class RunWarning(TradingValue):
    """Something that a person should know, though the run went on."""

    code: str
    message: str


class PDTExecutionInfo(TradingValue):
    """One session in which the account was rebalanced."""

    run_id: str
    session_date: str
    first_order_at: datetime


class PDTCheckResult(TradingValue):
    """What the trade guard says of an account now."""

    allowed: bool
    regime: str
    message: str
    next_allowed_at: datetime | None = None
    executions: tuple[PDTExecutionInfo, ...] = ()
    day_trades_used: int | None = None


class TradeLine(TradingValue):
    """One trade of a plan, as the commands print it; quantity is signed."""

    symbol: str
    quantity: int
    order_type: str
    price: Decimal | None
    reason: str


class OrderLine(TradingValue):
    """One order of a run, as the commands print it; quantities are signed."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    quantity: int
    filled_quantity: int
    average_price: Decimal | None
    status: str


class ErrorLine(TradingValue):
    """Why a run did not complete."""

    code: str
    message: str


class CalculateRebalanceResult(TradingValue):
    """A preview: what a rebalance would do."""

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
    """A run: what it would do, and what was done."""

    orders: tuple[OrderLine, ...]


class AccountExecutionResult(TradingValue):
    """What an event came to for one account."""

    account_id: str
    run_id: str
    state: str
    error: ErrorLine | None


class StrategyExecutionResult(TradingValue):
    """What an event came to, account by account."""

    event_id: int
    strategy: str
    state: str
    reason: str
    accounts: tuple[AccountExecutionResult, ...]
