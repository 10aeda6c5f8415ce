"""Guards that read only the database. They are checked before a plan is made and again before the first order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import Account
from accounts.policies import FrozenPolicy
from trading.common.formats import new_york_clock, new_york_time
from trading.guards.may_trade import TradeFacts, check_session, check_trade, read_facts, read_pause_reason
from trading.guards.trade_guard import check_trade_guard
from trading.journal.installation import awaits_reconciliation
from trading.journal.unrecorded import describe, unresolved
from trading.market_calendar import MarketCalendar
from trading.models import Order, OrderState, ScheduleEntry, ScheduleState
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


AccountGuard = Callable[[GuardContext], GuardResult]
_account_guards: list[AccountGuard] = []


def account_guard(guard: AccountGuard) -> AccountGuard:
    """Register the guard."""
    _account_guards.append(guard)
    return guard


def check_guards(
    account_pk: int, run_pk: int, policy: FrozenPolicy, now: datetime, calendar: MarketCalendar
) -> list[GuardResult]:
    """Check all account guards against the current database; return one result per guard, in order of refusal.

    The checks of `may_trade` come first. `run_pk` is 0 for a run that does not exist yet.
    """
    if run_pk:
        facts = read_facts(run_pk)
    else:  # no run exists yet
        facts = TradeFacts(Account.objects.with_followed_strategy().get(pk=account_pk), read_pause_reason())
    context = GuardContext(facts.account, run_pk, policy, now, calendar)
    return [*check_trade(facts), *(guard(context) for guard in _account_guards)]


def _result(code: str, if_passed: str, if_failed: str, *, passed: bool) -> GuardResult:
    return GuardResult(code=code, passed=passed, message=if_passed if passed else if_failed)


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
    at = new_york_time(entry.due_at)
    return _result(
        "schedule_late",
        f"The run was scheduled for {at}.",
        f"The run was scheduled for {at} and is more than 15 minutes late. No order was sent.",
        passed=context.now - entry.due_at <= MAX_LATENESS,
    )


@account_guard
def _market_open(context: GuardContext) -> GuardResult:
    session, resume = context.calendar.session_of(context.now), context.policy.next_execution_time
    if not (is_open := check_session(session, context.now, resume)).passed:
        return is_open
    closes = new_york_clock(session.closes_at)
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
