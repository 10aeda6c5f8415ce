"""Guards that read only the database. They are checked before a plan is made and again before the first order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from accounts.models import Account
from accounts.policies import FrozenPolicy
from brokers.exchange_calendar import NEW_YORK
from trading.error_codes import OnFail
from trading.errors import Deferred, Refused
from trading.guards.trade_guard import check_trade_guard
from trading.journal.installation import awaits_reconciliation
from trading.journal.unrecorded import describe, unresolved
from trading.market_calendar import MarketCalendar
from trading.models import EventSource, Order, OrderState, ScheduleEntry, ScheduleState, TradingControl
from trading.models.run_documents import GuardResult

MAX_LATENESS = timedelta(minutes=15)
"""Maximum delay between the scheduled and the actual start of a run."""


@dataclass(frozen=True)
class GuardContext:
    """The input of the guards, read from the database at each check."""

    account: Account
    run_pk: int
    policy: FrozenPolicy
    now: datetime
    calendar: MarketCalendar
    control: TradingControl


AccountGuard = Callable[[GuardContext], GuardResult]
_account_guards: list[AccountGuard] = []


def account_guard(guard: AccountGuard) -> AccountGuard:
    """Register the guard."""
    _account_guards.append(guard)
    return guard


def check_guards(
    account_pk: int, run_pk: int, policy: FrozenPolicy, now: datetime, calendar: MarketCalendar
) -> list[GuardResult]:
    """Check all account guards against the current database; return one result per guard, in order of refusal."""
    context = GuardContext(
        account=Account.objects.with_followed_strategy().get(pk=account_pk),
        run_pk=run_pk,
        policy=policy,
        now=now,
        calendar=calendar,
        control=TradingControl.objects.filter(pk=1).first() or TradingControl(),
    )
    return [guard(context) for guard in _account_guards]


def enforce(results: list[GuardResult], source: str) -> None:
    """Refuse or defer the run at the first failed guard. Guards that hold the plan for approval are skipped.

    A closed exchange defers a run that no user waits for; a user gets an answer at once.

    Raises:
        Refused, Deferred: with the guard's code and message. No order was sent.
    """
    is_attended = source in {EventSource.ADMIN, EventSource.COMMAND}
    for result in results:
        on_fail = result.guard.on_fail
        if result.passed or on_fail is OnFail.HOLD:
            continue
        defers = on_fail is OnFail.DEFER or (on_fail is OnFail.DEFER_UNATTENDED and not is_attended)
        if defers and result.not_before is not None:
            raise Deferred(result.code, result.message, not_before=result.not_before)
        raise Refused(result.code, result.message)


def _result(code: str, if_passed: str, if_failed: str, *, passed: bool) -> GuardResult:
    return GuardResult(code=code, passed=passed, message=if_passed if passed else if_failed)


def check_enabled(account: Account) -> GuardResult:
    """Check that the account is enabled."""
    return _result(
        "account_disabled",
        "The account is enabled.",
        f"Account {account.account_id} is disabled. Enable it in the admin.",
        passed=account.enabled,
    )


account_guard(lambda context: check_enabled(context.account))


@account_guard
def _strategy_enabled(context: GuardContext) -> GuardResult:
    strategy = context.account.followed_strategy
    return _result(
        "no_strategy",
        f"The account follows the strategy {strategy.name if strategy else ''}.",
        f"Account {context.account.account_id} follows no enabled strategy. Assign one in the admin.",
        passed=strategy is not None and strategy.enabled,
    )


@account_guard
def _trading_not_paused(context: GuardContext) -> GuardResult:
    everywhere = context.control.trading_paused
    reason = f" ({context.control.reason})" if everywhere and context.control.reason else ""
    return _result(
        "trading_paused",
        "Trading is not paused.",
        f"Trading is paused for {'all accounts' if everywhere else 'this account'}{reason}. Resume trading first.",
        passed=not everywhere and not context.account.trading_paused,
    )


def check_environment(account: Account) -> GuardResult:
    """Check that this installation trades accounts of this type (paper or live)."""
    mode = settings.TRADING_MODE
    return _result(
        "wrong_environment",
        f"The account's type is {account.type}, like TRADING_MODE.",
        f"Account {account.account_id} is a {account.type} account, and this installation trades {mode} accounts "
        f"(TRADING_MODE={mode}). It can be previewed, not executed.",
        passed=account.type == mode,
    )


account_guard(lambda context: check_environment(context.account))


@account_guard
def _live_trading_allowed(context: GuardContext) -> GuardResult:
    is_live = context.account.type == Account.Type.LIVE
    return _result(
        "live_not_allowed",
        "Live trading is allowed." if is_live else "This is not a live account.",
        "Live trading is off. Set ALLOW_LIVE_TRADING=true in the environment to allow it.",
        passed=not is_live or settings.ALLOW_LIVE_TRADING,
    )


@account_guard
def _live_account_armed(context: GuardContext) -> GuardResult:
    is_live = context.account.type == Account.Type.LIVE
    return _result(
        "live_not_armed",
        "The account is armed." if is_live else "A paper account does not need to be armed.",
        f"Account {context.account.account_id} is not armed for live trading. Arm it in the admin.",
        passed=not is_live or context.account.live_armed,
    )


@account_guard
def _earlier_orders_resolved(context: GuardContext) -> GuardResult:
    """Fail while an order of an earlier run may be open: the next plan could sell or buy the same again."""
    open_orders = Order.objects.filter(account=context.account, state__in=OrderState.open_states())
    earlier = [str(order) for order in open_orders.exclude(run_id=context.run_pk)]
    return _result(
        "orders_unknown",
        "No order of an earlier run is open.",
        f"An earlier run may have open orders: {', '.join(earlier)}. Resolve them first.",
        passed=not earlier,
    )


@account_guard
def _no_unrecorded_orders(context: GuardContext) -> GuardResult:
    """Fail while the broker has orders of ours without a row: another installation may trade the account."""
    names = unresolved(context.account.pk)
    return _result(
        "unrecorded_orders",
        "Every order of the account at the broker has a record.",
        f"The broker has orders of this account that are not in this database: {describe(names)}. Make sure that no "
        "other installation trades the account, then run `manage.py reconcile`.",
        passed=not names,
    )


@account_guard
def _not_restored(_: GuardContext) -> GuardResult:
    return _result(
        "database_restored",
        "The database was not restored from a backup, or has been reconciled since.",
        "The database was restored from a backup, and orders sent after the backup have no records. Run "
        "`manage.py reconcile`, which reads every enabled account at its broker.",
        passed=not awaits_reconciliation(),
    )


@account_guard
def _started_in_time(context: GuardContext) -> GuardResult:
    """Fail if a scheduled run starts too late, so that it is not executed at an unexpected time."""
    entry = ScheduleEntry.objects.filter(run_id=context.run_pk, state=ScheduleState.STARTED).first()
    if entry is None or Order.objects.filter(run_id=context.run_pk, submitted_at__isnull=False).exists():
        return GuardResult(code="schedule_late", passed=True, message="No start time applies.")
    at = f"{entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
    return _result(
        "schedule_late",
        f"The run was scheduled for {at}.",
        f"The run was scheduled for {at} and is more than 15 minutes late. No order was sent.",
        passed=context.now - entry.due_at <= MAX_LATENESS,
    )


@account_guard
def _market_open(context: GuardContext) -> GuardResult:
    session, resume = context.calendar.session_of(context.now), context.policy.next_execution_time
    if not session.is_open_at(context.now):
        opens = f"{session.opens_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
        message = f"The exchange is closed. The next session opens {opens}."
        return GuardResult(code="market_closed", passed=False, message=message, not_before=session.resume_at(resume))
    closes = f"{session.closes_at.astimezone(NEW_YORK):%H:%M} New York time"
    following = context.calendar.session_after(session.day)
    last_minutes = context.policy.minutes_before_close
    is_late = context.now >= session.closes_at - timedelta(minutes=last_minutes)
    if is_late and following.opens_at != session.closes_at:  # an exchange that never closes has no last minutes
        message = f"The session closes at {closes}. No run starts in its last {last_minutes} minutes."
        return GuardResult(
            code="too_close_to_close", passed=False, message=message, not_before=following.resume_at(resume)
        )
    return GuardResult(code="too_close_to_close", passed=True, message=f"The exchange is open until {closes}.")


@account_guard
def _trade_guard(context: GuardContext) -> GuardResult:
    account, policy, run = context.account, context.policy, context.run_pk
    check = check_trade_guard(
        account.pk,
        policy.trade_guard,
        context.now,
        context.calendar,
        resume=policy.next_execution_time,
        exclude_run=run,
    )
    return GuardResult(
        code="trade_guard", passed=check.allowed, message=check.message, not_before=check.next_allowed_at
    )
