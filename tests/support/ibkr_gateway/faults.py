"""What can be told to go wrong, once each unless it says otherwise."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Faults of orders, quotes and account data."""

    DROP_BEFORE = "drop_before"  # the socket goes before the order is taken
    DROP_AFTER = "drop_after"  # the order is taken, and the socket goes before a word of it
    LOST = "lost"  # the order is swallowed without a word
    SILENT = "silent"  # the order is taken, and no word of it comes by itself
    REJECT = "reject"  # 201, then Inactive
    REJECT_WHAT_IF = "reject_what_if"  # 201 to an order that only asks
    REJECT_STATUS_FIRST = "reject_status_first"  # Inactive, then 201
    ORDER_ERROR = "order_error"  # only an error with `code`: nothing is taken, nothing more comes
    ORDER_WARNING = "order_warning"  # an error with `code`, and the order lives on
    PARTIAL = "partial"  # `share` of the order is filled, the rest stays in the book
    NO_FILL = "no_fill"  # the order stays in the book
    NO_STATUS = "no_status"  # executions come, orderStatus never does
    TWICE = "twice"  # every word of the order comes twice
    STATUS_BEFORE_EXECUTION = "status_before_execution"
    CANCEL_IGNORED = "cancel_ignored"
    FILL_DURING_CANCEL = "fill_during_cancel"
    MISSING_QUOTE = "missing_quote"
    EMPTY_QUOTE = "empty_quote"  # -1 on both sides
    CROSSED_QUOTE = "crossed_quote"
    ONE_SIDED_QUOTE = "one_sided_quote"
    QUOTE_ERROR = "quote_error"  # an error with `code` in place of ticks
    MUTE_RULE = "mute_rule"  # a market rule is asked for and not answered
    DELAYED_QUOTE = "delayed_quote"  # 10167, then ticks of the delayed kind
    NO_VALUE = "no_value"  # NetLiquidation is missing from the account's values
    NO_POSITIONS_END = "no_positions_end"  # positions come and are never confirmed
    NO_COMMISSION = "no_commission"
    COMMISSION_AFTER_END = "commission_after_end"  # reports come after the end of the executions


@dataclass
class Fault:
    """One fault; an empty symbol or account means any."""

    kind: Kind
    symbol: str = ""
    account_id: str = ""
    code: int = 0
    words: str = ""
    share: float = 0.5
    times: int = 1


class Script:
    """The faults that are still to come."""

    def __init__(self):
        self._faults = []

    def add(self, kind, **fields):
        self._faults.append(Fault(Kind(kind), **fields))

    def clear(self):
        self._faults.clear()

    def take(self, *kinds, symbol="", account_id=""):
        """The first fault of these kinds that fits, used up; or None."""
        for fault in self._faults:
            fits = fault.symbol in {"", symbol} and fault.account_id in {"", account_id}
            if fault.kind in kinds and fits:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None
