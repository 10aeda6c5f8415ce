"""Trade guard regimes: whether an account may be rebalanced, and a plan be sent, in a session.

- `none` never blocks.
- `once_per_session` allows one executed rebalance per session (PDT protection). A run after a stopped one belongs to
  the same rebalance.
- `pdt_legacy` allows no plan that would make a fourth day trade in five sessions (PDT protection).
- `cash_settlement` allows no sale of a position that unsettled cash may have paid for; buys are sized on settled cash.

All regimes apply to an account with an unknown one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from accounts.models import Account
from brokers.exchange_calendar import Session
from trading.common.formats import day_text, new_york_time
from trading.guards.trade_guard.history import (
    bought_in,
    bought_with_unsettled_money,
    day_trades,
    executed_since,
    unsettled_usd,
    window,
)
from trading.guards.trade_guard.rules import day_trade_rule, settlement_sessions
from trading.market_calendar import MarketCalendar
from trading.models import ExecutedSession, RunState
from trading.models.run_documents import PDTCheckResult, PDTExecutionInfo

UNGUARDED, ONCE, PDT, CASH = "none", "once_per_session", "pdt_legacy", "cash_settlement"


@dataclass(frozen=True)
class _Query:
    """The account, time and sells to check."""

    account_pk: int
    regime: str
    now: datetime
    calendar: MarketCalendar
    resume: time = time()
    exclude_run: int | None = None
    sells: Collection[str] = ()

    @property
    def session(self) -> Session:
        """The session in which an order sent now executes."""
        return self.calendar.session_of(self.now)

    @property
    def is_strict(self) -> bool:
        """Whether the regime is unknown, so that all of them apply."""
        return self.regime not in {UNGUARDED, ONCE, PDT, CASH}

    def resume_at(self, session: Session) -> str:
        """Return the time at which the account resumes in a session, as text."""
        return new_york_time(session.resume_at(self.resume))


@dataclass(frozen=True)
class _Answer:
    message: str
    until: Session | None = None
    executions: tuple[PDTExecutionInfo, ...] = ()
    day_trades_used: int | None = None


def check_trade_guard(
    account_pk: int,
    regime: str,
    now: datetime,
    calendar: MarketCalendar,
    *,
    resume: time = time(),
    exclude_run: int | None = None,
    sells: Collection[str] = (),
) -> PDTCheckResult:
    """Check the trade guard of an account, for orders sent at `now`.

    `resume` is the earliest New York time at which a deferred account resumes, `exclude_run` the primary key of the run
    being checked, which does not count, and `sells` the symbols that the plan sells, if there is a plan.
    """
    query = _Query(account_pk, regime, now, calendar, resume, exclude_run, sells)
    if regime == UNGUARDED:
        return PDTCheckResult(allowed=True, regime=regime, message="No limit on how often it may trade.")
    checks = {ONCE: _once, PDT: _pdt, CASH: _cash}
    answers = [check(query) for name, check in checks.items() if name == regime or query.is_strict]
    used = [answer.day_trades_used for answer in answers if answer.day_trades_used is not None]
    blocked = [answer for answer in answers if answer.until is not None]
    # The rule that blocks longest determines when the account resumes.
    worst = max(blocked, key=lambda answer: answer.until.opens_at if answer.until else now, default=None)
    return PDTCheckResult(
        allowed=worst is None,
        regime=regime,
        message=worst.message if worst else " ".join(answer.message for answer in answers),
        next_allowed_at=worst.until.resume_at(resume) if worst and worst.until else None,
        executions=worst.executions if worst else (),
        day_trades_used=used[0] if used else None,
    )


def settled_cash_usd(account_pk: int, cash_usd: Decimal, now: datetime, calendar: MarketCalendar) -> Decimal:
    """Return cash minus the unsettled proceeds of the known sales, in USD; at least zero."""
    first = _unsettled_from(calendar.session_of(now), calendar)
    return max(cash_usd - unsettled_usd(executed_since(account_pk, first, calendar), first), Decimal(0))


def spends_settled_cash(regime: str) -> bool:
    """Return whether buys are sized on settled cash."""
    return regime not in {UNGUARDED, ONCE, PDT}


def needs_executions(regime: str) -> bool:
    """Return whether the regime needs the broker's executions."""
    return regime not in {UNGUARDED, ONCE}


def window_start(now: datetime, calendar: MarketCalendar) -> datetime:
    """Return the time from which executions count."""
    session = calendar.session_of(now)
    rule = day_trade_rule(session.day)
    first = window(session.day, rule.sessions if rule else 2, calendar)[0]
    return calendar.session_before(first).closes_at


def _once(query: _Query) -> _Answer:
    session = query.session
    executed = ExecutedSession.objects.filter(account_id=query.account_pk, session_date=session.day)
    rows = list(executed.exclude(run_id=query.exclude_run).select_related("run").order_by("id"))
    if not rows:
        return _Answer(f"No rebalance was executed in the session of {day_text(session.day)}.")
    if rows[-1].run.state == RunState.STOPPED:
        return _Answer(f"Run {rows[-1].run.run_id} was stopped; a run in the same session may finish its rebalance.")
    executions = tuple(
        PDTExecutionInfo(run_id=row.run.run_id, session_date=str(row.session_date), first_order_at=row.first_order_at)
        for row in rows
    )
    again = query.calendar.session_after(session.day)
    label = dict(Account.TradeGuard.choices).get(query.regime, query.regime)
    return _Answer(
        f"PDT protection: the account was already rebalanced in the session of {day_text(session.day)} (run "
        f"{executions[-1].run_id}). Its trade guard ({label}) allows one rebalance per session. "
        f"It can trade again from {query.resume_at(again)}.",
        again,
        executions,
    )


def _pdt(query: _Query) -> _Answer:
    session = query.session
    rule = day_trade_rule(session.day)
    if rule is None:
        return _Answer("The pattern day trader (PDT) rule is no longer in force.")
    first = window(session.day, rule.sessions, query.calendar)[0]
    trades = executed_since(query.account_pk, first, query.calendar)
    counts = day_trades(trades)
    used = sum(counts.values())
    most = rule.day_trades - 1
    if used > most:
        again = query.calendar.session_after(session.day)
        while sum(counts.get(day, 0) for day in window(again.day, rule.sessions, query.calendar)) > most:
            again = query.calendar.session_after(again.day)
        return _Answer(
            f"PDT protection: the account made {used} day trades in {rule.sessions} sessions; {most} are allowed. "
            f"It can trade again from {query.resume_at(again)}.",
            again,
            day_trades_used=used,
        )
    would = sorted(bought_in(trades, session.day) & set(query.sells))
    if used + len(would) > most:
        again = query.calendar.session_after(session.day)
        return _Answer(
            f"PDT protection: selling {', '.join(would)}, bought in this session, would make {used + len(would)} day "
            f"trades in {rule.sessions} sessions; {most} are allowed. The next possible time is "
            f"{query.resume_at(again)}.",
            again,
            day_trades_used=used,
        )
    return _Answer(f"{used} of {most} allowed day trades used.", day_trades_used=used)


def _cash(query: _Query) -> _Answer:
    first = _unsettled_from(query.session, query.calendar)
    trades = executed_since(query.account_pk, first, query.calendar)
    held = sorted(bought_with_unsettled_money(trades, first) & set(query.sells))
    if not held:
        return _Answer("No sell of a position that unsettled cash may have paid for. Buys are sized on settled cash.")
    again = query.calendar.session_after(query.session.day)
    return _Answer(
        f"{', '.join(held)} may have been bought with unsettled cash and cannot be sold before it has settled. "
        f"The next possible time is {query.resume_at(again)}.",
        again,
    )


def _unsettled_from(session: Session, calendar: MarketCalendar) -> date:
    """Return the first session whose sales have not settled in the given one; with T+1, the given one itself."""
    return window(session.day, settlement_sessions(session.day), calendar)[0]
