"""What must hold before the first sell. Each guard has a code, a sentence, and a place in the preview."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.conf import settings

from accounts.models import Account
from accounts.policies import FrozenPolicy
from brokers.exchange_calendar import NEW_YORK
from trading.errors import Deferred, Refused
from trading.guards.trade_guard import check_trade_guard
from trading.market_calendar import MarketCalendar
from trading.models import (
    EventSource,
    Order,
    OrderState,
    ScheduleEntry,
    ScheduleState,
    TradingControl,
)
from trading.models.run_documents import GuardResult

MAX_LATENESS = timedelta(minutes=15)
"""Nothing that is scheduled starts later than this after its time."""


@dataclass(frozen=True)
class GuardContext:
    """All that the guards look at, read anew each time they are asked."""

    account: Account
    run_pk: int
    trade_guard: str
    minutes_before_close: int
    resume: time
    now: datetime
    calendar: MarketCalendar
    control: TradingControl


def check_guards(
    account_pk: int, run_pk: int, policy: FrozenPolicy, now: datetime, calendar: MarketCalendar
) -> list[GuardResult]:
    """What every guard says of what the database holds now, in the order in which they refuse."""
    context = GuardContext(
        account=Account.objects.select_related("strategy").get(pk=account_pk),
        run_pk=run_pk,
        trade_guard=policy.trade_guard,
        minutes_before_close=policy.minutes_before_close,
        resume=policy.next_execution_time,
        now=now,
        calendar=calendar,
        control=TradingControl.objects.filter(pk=1).first() or TradingControl(),
    )
    return [
        guard(context)
        for guard in (
            _account_enabled,
            _has_strategy,
            _not_paused,
            _environment,
            _live_allowed,
            _live_armed,
            _orders_settled,
            _on_time,
            _session_open,
            _trade_guard,
        )
    ]


def enforce(results: list[GuardResult], source: str) -> None:
    """Refuses at the first guard that says no, or puts the run aside when its time will come.

    A closed exchange puts aside what nobody waits for; a person gets an answer at once.

    Raises:
        Refused, Deferred: with the guard's code and sentence. Nothing was sent.
    """
    for result in results:
        if result.passed:
            continue
        somebody_waits = source in {EventSource.ADMIN, EventSource.COMMAND}
        if result.not_before is not None and (result.code.startswith("trade_guard") or not somebody_waits):
            raise Deferred(result.code, result.message, not_before=result.not_before)
        raise Refused(result.code, result.message)


def _result(code: str, *, passed: bool, yes: str, no: str, not_before: datetime | None = None) -> GuardResult:
    return GuardResult(
        code=code, passed=passed, message=yes if passed else no, not_before=None if passed else not_before
    )


def _account_enabled(context: GuardContext) -> GuardResult:
    account = context.account
    return _result(
        "account_disabled",
        passed=account.enabled,
        yes="The account is enabled.",
        no=f"Account {account.account_id} is disabled; enable it in the admin.",
    )


def _has_strategy(context: GuardContext) -> GuardResult:
    strategy = context.account.strategy
    return _result(
        "no_strategy",
        passed=strategy is not None and strategy.enabled,
        yes=f"It follows {strategy.name if strategy else ''}.",
        no=f"Account {context.account.account_id} follows no enabled strategy; give it one in the admin.",
    )


def _not_paused(context: GuardContext) -> GuardResult:
    everywhere = context.control.trading_paused
    reason = f" ({context.control.reason})" if everywhere and context.control.reason else ""
    return _result(
        "trading_paused",
        passed=not everywhere and not context.account.trading_paused,
        yes="Trading is not paused.",
        no=f"Trading is paused {'for all accounts' if everywhere else 'for this account'}{reason}.",
    )


def is_of_another_environment(account: Account) -> str:
    """Why the account cannot be traded by this installation at all; empty when it can."""
    kind, mode = account.type, settings.TRADING_MODE
    if kind == mode:
        return ""
    return (
        f"Account {account.account_id} is a {kind} account, and this installation trades {mode} accounts "
        f"(TRADING_MODE={mode}). It can be previewed, not executed."
    )


def _environment(context: GuardContext) -> GuardResult:
    problem = is_of_another_environment(context.account)
    return _result(
        "wrong_environment",
        passed=not problem,
        yes=f"It is a {context.account.type} account, as TRADING_MODE wants.",
        no=problem,
    )


def _live_allowed(context: GuardContext) -> GuardResult:
    return _result(
        "live_not_allowed",
        passed=context.account.type != "live" or settings.ALLOW_LIVE_TRADING,
        yes="Live trading is allowed." if context.account.type == "live" else "It is not a live account.",
        no="Live trading is off: it needs ALLOW_LIVE_TRADING=true in the environment.",
    )


def _live_armed(context: GuardContext) -> GuardResult:
    return _result(
        "live_not_armed",
        passed=context.account.type != "live" or context.account.live_armed,
        yes="The account is armed." if context.account.type == "live" else "It needs no arming.",
        no=f"Account {context.account.account_id} is not armed for live trading; arm it in the admin.",
    )


def _orders_settled(context: GuardContext) -> GuardResult:
    """An order that may be alive could be sold or bought a second time by the next plan."""
    unsettled = Order.objects.filter(account=context.account, state__in=OrderState.open_states())
    others = [str(order) for order in unsettled.exclude(run_id=context.run_pk)]
    return _result(
        "orders_unknown",
        passed=not others,
        yes="No order of an earlier run is open.",
        no=f"Orders of an earlier run may be alive at the broker: {', '.join(others)}. Settle them first.",
    )


def _on_time(context: GuardContext) -> GuardResult:
    """A scheduled run that no worker took up in time is not made up for at some odd hour."""
    entry = ScheduleEntry.objects.filter(run_id=context.run_pk, state=ScheduleState.STARTED).first()
    if entry is None or Order.objects.filter(run_id=context.run_pk, submitted_at__isnull=False).exists():
        return GuardResult(code="schedule_late", passed=True, message="It is not bound to a time.")
    at = f"{entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
    return _result(
        "schedule_late",
        passed=context.now - entry.due_at <= MAX_LATENESS,
        yes=f"It was scheduled for {at}.",
        no=f"It was scheduled for {at} and is more than 15 minutes late. Nothing was sent.",
    )


def _session_open(context: GuardContext) -> GuardResult:
    session = context.calendar.session_of(context.now)
    if not session.is_open_at(context.now):
        return GuardResult(
            code="market_closed",
            passed=False,
            message=(
                "The exchange is closed. The next session opens "
                f"{session.opens_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time."
            ),
            not_before=session.resume_at(context.resume),
        )
    # An exchange that never closes has no last minutes.
    ends = session.closes_at - timedelta(minutes=context.minutes_before_close)
    following = context.calendar.session_after(session.day)
    return _result(
        "too_close_to_close",
        passed=context.now < ends or following.opens_at == session.closes_at,
        yes=f"The exchange is open until {session.closes_at.astimezone(NEW_YORK):%H:%M} New York time.",
        no=(
            f"The session closes at {session.closes_at.astimezone(NEW_YORK):%H:%M} New York time; no run starts in "
            f"its last {context.minutes_before_close} minutes."
        ),
        not_before=following.resume_at(context.resume),
    )


def _trade_guard(context: GuardContext) -> GuardResult:
    check = check_trade_guard(
        context.account.pk,
        context.trade_guard,
        context.now,
        context.calendar,
        resume=context.resume,
        exclude_run=context.run_pk,
    )
    return GuardResult(
        code="trade_guard", passed=check.allowed, message=check.message, not_before=check.next_allowed_at
    )
