"""Request and response schemas of the API that the commands do not print already."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from ninja import Path, Query
from pydantic import BeforeValidator, Field

from accounts.refusal_text import id_from_number
from trading.errors import TradingError
from trading.journal.approvals import MAX_NOTE
from trading.models import StrategyEvent
from trading.models.run_documents import AccountExecutionResult, ErrorLine, RebalanceResult, TradingValue, WaitingPlan
from trading.monitoring.accounts import AccountSummary
from trading.serializers import event_line, strategy_result

ERRORS = dict.fromkeys((400, 401, 403, 404, 405, 422, 429), ErrorLine)
"""Error responses that every endpoint can return."""
CONFLICT = {409: ErrorLine}

AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
StrategyName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
RunId = Annotated[str, Path(pattern=r"^[a-z0-9]{1,10}$")]
EventId = Annotated[int, Path(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of rows.")]
Offset = Annotated[int, Query(ge=0, le=100_000, description="Number of rows to skip.")]


class Refusal(TradingError):  # noqa: N818 - an answer, not a defect
    """An error response: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status


class PreviewStateLine(TradingValue):
    """The state of a plan, with one sentence, and until when it can be submitted."""

    state: str
    message: str
    valid_until: datetime | None


class RunDetail(RebalanceResult):
    """A run; if it has a plan to submit or approve, also the state of that plan for the owner of the token."""

    preview_state: PreviewStateLine | None


class AccountLine(AccountSummary):
    """An account: its configuration, its standing, and its latest recorded value and cash in USD."""

    name: str
    type: str
    trading_paused: bool
    live_armed: bool
    trade_guard: str
    total_value: Decimal | None
    cash_balance: Decimal | None
    valued_at: datetime | None


class TargetLine(TradingValue):
    """One target of a static strategy."""

    symbol: str
    weight: Decimal


class StrategyLine(TradingValue):
    """A strategy; `targets` is empty if they come from the allocations service."""

    name: str
    title: str
    source: str
    enabled: bool
    targets: tuple[TargetLine, ...]
    accounts: tuple[str, ...]


class EventLine(TradingValue):
    """An event with the outcome for each account."""

    id: int
    source: str
    channel: str
    message_id: str
    exec: str
    account_id: str | None
    state: str
    reason: str
    received_at: datetime
    duplicates: int
    runs: tuple[AccountExecutionResult, ...]


class AccountList(TradingValue):
    """A page of accounts."""

    accounts: tuple[AccountLine, ...]


class StrategyList(TradingValue):
    """A page of strategies."""

    strategies: tuple[StrategyLine, ...]


class RunList(TradingValue):
    """A page of runs, newest first."""

    runs: tuple[RebalanceResult, ...]


class EventList(TradingValue):
    """A page of events, newest first."""

    events: tuple[EventLine, ...]


class ApprovalList(TradingValue):
    """A page of plans that wait for approval, the next to expire first."""

    approvals: tuple[WaitingPlan, ...]


class EventIn(TradingValue):
    """An event to submit."""

    channel: str = Field(min_length=1, max_length=64, description="The strategy's name.")
    message_id: Annotated[str, BeforeValidator(id_from_number)] = Field(
        min_length=1, max_length=160, description="Repeating an id has no effect."
    )
    payload: dict[str, Any] = Field(
        description="`exec`, and optionally `account_id`: that account only. Any other key that begins with `account` "
        "is refused; all others are stored and not used."
    )


class Approval(TradingValue):
    """The approved plan."""

    plan_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    account_id: Annotated[str, BeforeValidator(id_from_number)] = Field(
        default="", max_length=32, description="Required for a live account: its account id."
    )


class Decline(TradingValue):
    """The answer that a plan must not be executed."""

    note: str = Field(default="", max_length=MAX_NOTE, description="The reason; stored with the plan.")


def event_response(event: StrategyEvent) -> EventLine:
    """Return the response for an event."""
    return EventLine.model_validate(
        event_line(event) | {"duplicates": event.duplicates, "runs": strategy_result(event).accounts}
    )
