"""The exceptions of trading.

TradingError                 has a `code` and a message that states what to do
├── Refused                  a guard failed, or the request is not allowed; no order of the run was sent
│   └── Deferred             the same, and the run waits until `not_before`
├── RunFailed                the run could not be completed; no order of it is open at the broker
├── NeedsAttention           an operator must check: something is unknown, or differs from the records
├── AccountChanged           the basis of the plan has changed, or an order was proven lost: plan again
├── SlotBusy                 another process uses the slot: try again in a moment
├── LeaseLost                another process has claimed the slot: stop before the next side effect
├── IllegalTransition        the row was not in a state that allows the change
└── EventRejected            the inbox does not act on this event
"""

from datetime import datetime

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

DATABASE_ERRORS = (InterfaceError, InternalError, OperationalError, ProgrammingError)
"""Errors of the database or its tables (during an upgrade), not of a value: what failed with one is repeated."""


class TradingError(Exception):
    """Root of the exceptions of trading: a stable code for programs (`trading.error_codes`), a sentence for users."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Refused(TradingError):  # noqa: N818 - named by outcome, like the others of the tree above
    """A guard failed, or the request is not allowed."""


class Deferred(Refused):
    """A guard failed for now: the run is planned again at `not_before`, with the current targets."""

    def __init__(self, code: str, message: str, *, not_before: datetime) -> None:
        super().__init__(code, message)
        self.not_before = not_before


class RunFailed(TradingError):  # noqa: N818
    """The run could not be completed."""


class NeedsAttention(TradingError):  # noqa: N818
    """Only an operator can decide how to continue."""


class AccountChanged(TradingError):  # noqa: N818
    """The basis of the plan has changed; plan again from the current records."""

    def __init__(self, message: str) -> None:
        super().__init__("account_changed", message)


class SlotBusy(TradingError):  # noqa: N818
    """Another process uses the slot; try again in a moment."""

    def __init__(self) -> None:
        super().__init__("connection_busy", "Another process uses the connection slot. Try again in a moment.")


class LeaseLost(TradingError):  # noqa: N818
    """Another process has claimed the slot."""

    def __init__(self) -> None:
        super().__init__("lease_lost", "Another process has claimed this connection slot.")


class IllegalTransition(TradingError):  # noqa: N818
    """The row was not in a state that allows the change."""

    def __init__(self, what: str, target: str) -> None:
        super().__init__("illegal_transition", f"{what} cannot become {target} from its current state.")


class EventRejected(TradingError):  # noqa: N818
    """The event is stored, and no run is made for it."""
