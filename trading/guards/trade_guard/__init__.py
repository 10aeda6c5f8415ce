"""What holds an account back from trading too often: four regimes, counted from executions, by dated rules."""

from trading.guards.trade_guard.regimes import (
    check_trade_guard,
    needs_executions,
    settled_cash_usd,
    spends_settled_cash,
    window_start,
)

__all__ = ["check_trade_guard", "needs_executions", "settled_cash_usd", "spends_settled_cash", "window_start"]
