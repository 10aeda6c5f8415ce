"""Scripted faults. Each happens once unless `times` is higher."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Faults of orders, quotes and account data."""

    DROP_BEFORE = "drop_before"  # the socket closes before the order is accepted
    DROP_AFTER = "drop_after"  # the order is accepted, and the socket closes before any message about it
    LOST = "lost"  # the order is discarded without a message
    SILENT = "silent"  # the order is accepted, and no message about it is pushed
    REJECT = "reject"  # 201, then Inactive
    USED_ORDER_ID = "used_order_id"  # 103: an order with this id, or a lower one, was submitted before
    ORDER_ERROR_INACTIVE = "order_error_inactive"  # an error with `code`, then Inactive: the order is not accepted
    MUTE_WHAT_IF = "mute_what_if"  # a what-if order gets no response
    REJECT_WHAT_IF = "reject_what_if"  # 201, or `code`, to a what-if order
    REJECT_STATUS_FIRST = "reject_status_first"  # Inactive, then 201
    ORDER_ERROR = "order_error"  # only an error with `code`: the order is not accepted
    ORDER_WARNING = "order_warning"  # an error with `code`, and the order stays open
    WARN_SILENTLY = "warn_silently"  # an error with `code` before the messages that SILENT discards
    PARTIAL = "partial"  # `share` of the order is filled, and the rest stays open
    NO_FILL = "no_fill"  # the order stays open
    NO_STATUS = "no_status"  # executions are sent, but no orderStatus
    TWICE = "twice"  # every message about the order is duplicated
    STATUS_BEFORE_EXECUTION = "status_before_execution"
    CANCEL_IGNORED = "cancel_ignored"
    FILL_DURING_CANCEL = "fill_during_cancel"
    MISSING_QUOTE = "missing_quote"
    EMPTY_QUOTE = "empty_quote"  # -1 on both sides
    CROSSED_QUOTE = "crossed_quote"
    ONE_SIDED_QUOTE = "one_sided_quote"
    WIDE_QUOTE = "wide_quote"
    FARM_LOST = "farm_lost"  # 2103 instead of ticks
    QUOTE_ERROR = "quote_error"  # an error with `code` instead of ticks
    MUTE_RULE = "mute_rule"  # a market rule request gets no response
    DELAYED_QUOTE = "delayed_quote"  # 10167, then delayed ticks
    NO_VALUE = "no_value"  # NetLiquidation is missing from the account's values
    NO_POSITIONS_END = "no_positions_end"  # positions are sent without the end message
    NO_COMMISSION = "no_commission"
    COMMISSION_AFTER_END = "commission_after_end"  # commissions are sent after the end of the executions


@dataclass
class Fault:
    """One fault; an empty symbol or account matches any."""

    kind: Kind
    symbol: str = ""
    account_id: str = ""
    code: int = 0
    message: str = ""
    share: float = 0.5
    times: int = 1


class Script:
    """The faults that have not happened yet."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, kind: Kind, **fields: Any) -> None:
        self._faults.append(Fault(Kind(kind), **fields))

    def clear(self) -> None:
        self._faults.clear()

    def take(self, *kinds: Kind, symbol: str = "", account_id: str = "") -> Fault | None:
        """Use up the first matching fault of these kinds, if there is one."""
        for fault in self._faults:
            matches = fault.symbol in {"", symbol} and fault.account_id in {"", account_id}
            if fault.kind in kinds and matches:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None
