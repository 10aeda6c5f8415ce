"""Whether an account may be rebalanced in a session, from what was executed before.

Regimes: `none` never blocks. `once_per_session` allows one executed rebalance a session. `pdt_legacy` and
`cash_settlement` are held to the same strict rule, which keeps within both: with at most one rebalance a session,
sells before buys, nothing is bought and sold in one session, and what is sold was bought with settled money.
"""

from datetime import datetime, time

from accounts.models import Account
from brokers.sessions import NEW_YORK
from trading.market_calendar import MarketCalendar
from trading.models import ExecutedSession
from trading.values import PDTCheckResult, PDTExecutionInfo

UNGUARDED = "none"


def check_trade_guard(
    account_pk: int,
    regime: str,
    now: datetime,
    calendar: MarketCalendar,
    *,
    resume: time = time(),
    but_run: int | None = None,
) -> PDTCheckResult:
    """What the trade guard says of an account now.

    Args:
        account_pk: the account's row.
        regime: its trade guard.
        now: the instant at which orders would be sent.
        calendar: the exchange's sessions.
        resume: New York time before which a blocked account is not taken up again.
        but_run: a run that does not count, since it is the one that asks (taken up again half-way).
    """
    session = calendar.session_of(now)
    executed = ExecutedSession.objects.filter(account_id=account_pk, session_date=session.day)
    executions = tuple(
        PDTExecutionInfo(
            run_id=row.run.run_id,
            session_date=row.session_date.isoformat(),
            first_order_at=row.first_order_at,
        )
        for row in executed.exclude(run_id=but_run).select_related("run")
    )
    if regime == UNGUARDED:
        return PDTCheckResult(allowed=True, regime=regime, message="The account has no trade guard.")
    if not executions:
        return PDTCheckResult(
            allowed=True, regime=regime, message=f"No rebalance was executed in the session of {session.day}."
        )
    again = calendar.session_after(session.day).resume_at(resume)
    label = dict(Account.TradeGuard.choices).get(regime, regime)
    return PDTCheckResult(
        allowed=False,
        regime=regime,
        message=(
            f"The account was rebalanced in the session of {session.day} (run {executions[-1].run_id}), and its "
            f"trade guard ({label}) allows one a session. It may trade again from "
            f"{again.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time."
        ),
        next_allowed_at=again,
        executions=executions,
    )
