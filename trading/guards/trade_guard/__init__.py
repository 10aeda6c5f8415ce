"""The trade guard: limits how often an account may trade, by regime and from its executions."""

from trading.guards.trade_guard.regimes import (
    check_trade_guard,
    needs_executions,
    settled_cash_usd,
    spends_settled_cash,
    window_start,
)

__all__ = ["check_trade_guard", "needs_executions", "settled_cash_usd", "spends_settled_cash", "window_start"]
