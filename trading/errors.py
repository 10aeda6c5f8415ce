"""The error tree of trading.

TradingError                 has a `code` of trading.codes and a sentence that says what to do
├── Refused                  a guard said no; nothing was sent for this run
│   └── Deferred             ... and the run waits for `not_before`
├── RunFailed                the run could not be carried out; nothing is left open at the broker
├── NeedsAttention           a person has to look: something is unknown, or not as the books say
├── AccountChanged                 what the plan was made on has changed, or an order was proven lost: start again
├── LeaseLost                another process has the slot: stop before the next effect
├── IllegalTransition        a row was not in the state that the move starts from
└── EventRejected            the inbox does not act on this event
"""

from datetime import datetime


class TradingError(Exception):
    """Root of everything that trading raises.

    Attributes:
        code: stable word of `trading.error_codes`.
        message: sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Refused(TradingError):  # noqa: N818 - the words of the tree above
    """A guard said no."""


class Deferred(Refused):
    """A guard said not now: the run is taken up again at `not_before`, with the newest targets."""

    def __init__(self, code: str, message: str, *, not_before: datetime) -> None:
        super().__init__(code, message)
        self.not_before = not_before


class RunFailed(TradingError):  # noqa: N818
    """The run could not be carried out."""


class NeedsAttention(TradingError):  # noqa: N818
    """Nobody but a person can decide how to go on."""


class AccountChanged(TradingError):  # noqa: N818
    """What the plan was made on is no longer so; plan again from the books as they are."""

    def __init__(self, message: str) -> None:
        super().__init__("account_changed", message)


class LeaseLost(TradingError):  # noqa: N818
    """The slot belongs to another process now."""

    def __init__(self) -> None:
        super().__init__("lease_lost", "Another process has taken over this connection slot.")


class IllegalTransition(TradingError):  # noqa: N818
    """The row was not in a state from which this move is allowed."""

    def __init__(self, what: str, target: str) -> None:
        super().__init__("illegal_transition", f"{what} cannot become {target} from where it stands.")


class EventRejected(TradingError):  # noqa: N818
    """The event is kept, and nothing is done about it."""
