"""Checks of what runs are executed from: trading switches, queue and workers, schedule."""

from collections.abc import Iterator

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule

from accounts.models import Account
from trading.common.formats import new_york_time
from trading.journal.installation import awaits_reconciliation
from trading.models import ScheduleEntry, ScheduleOrigin, ScheduleState, TradingControl, UnrecordedOrder
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.monitoring.status import overview, queue_health
from trading.queue.schedules import SCHEDULES, are_complete
from trading.schedule.market_open import ON_TIME

MAX_QUEUED_TASKS = 500
MAX_NAMED_ENTRIES = 5


def trading() -> Iterator[Finding]:
    """Show the kill switches, and the two switches of live trading."""
    enabled = Account.objects.filter(type=settings.TRADING_MODE, enabled=True)
    message = f"TRADING_MODE={settings.TRADING_MODE}. Enabled accounts: {enabled.count()}"
    if settings.TRADING_MODE == "paper":
        yield ok(f"{message}. Live accounts can only be previewed.")
    elif not settings.ALLOW_LIVE_TRADING:
        yield off(f"{message}. ALLOW_LIVE_TRADING is off: they can only be previewed.")
    else:
        yield ok(f"{message}, armed: {enabled.filter(live_armed=True).count()}.")
    if awaits_reconciliation():
        message = "The database was restored from a backup, and not every enabled account has been reconciled since."
        yield problem(message, "Run `manage.py reconcile`. No account trades before.")
    unrecorded = UnrecordedOrder.objects.filter(resolved_at=None).select_related("account").order_by("account_id")
    if accounts := sorted({order.account.account_id for order in unrecorded}):
        message = f"The broker has orders that are not in this database: {', '.join(accounts)}."
        yield problem(message, "Stop other installations that trade these accounts, then run `manage.py reconcile`.")
    control = TradingControl.objects.filter(trading_paused=True).first()
    if control is not None:
        reason = f": {control.reason}" if control.reason else ""
        yield off(f"Trading is paused for all accounts{reason}. `manage.py resume` resumes it.")
    if paused := Account.objects.filter(trading_paused=True).order_by("account_id"):
        yield off(f"Trading is paused for {', '.join(account.account_id for account in paused)}.")


def queue() -> Iterator[Finding]:
    """Check the workers, the number of queued tasks, and the queue's schedules."""
    queued = queue_health().tasks
    tasks = f"Queued tasks: {queued}."
    if not overview().workers_alive:
        to_do = "Start `manage.py qworker` under a supervisor that restarts it."
        yield problem(f"No worker is running (no recent heartbeat). {tasks}", to_do)
    elif queued > MAX_QUEUED_TASKS:
        yield problem(f"The queue is long. {tasks}", "Start more workers, and check their log.")
    else:
        yield ok(f"Workers are running. {tasks}")
    names = Schedule.objects.values_list("name", flat=True)
    if not are_complete():
        message = f"The queue's schedules are {', '.join(sorted(names)) or 'none'}, not {', '.join(sorted(SCHEDULES))}."
        yield problem(message, "A running worker or listener restores them; start one, or run `manage.py migrate`.")
    else:
        yield ok("The queue's schedules are complete.")


def schedule() -> Iterator[Finding]:
    """Check for overdue accounts, and for failed entries without a follow-up."""
    overdue = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__lt=timezone.now() - ON_TIME)
    if not settings.SCHEDULER_ENABLED:
        overdue = overdue.filter(origin=ScheduleOrigin.DEFERRED)
    if entries := list(overdue.select_related("account")):
        to_do = "Workers start scheduled runs: check that `manage.py qworker` is running, and read its log."
        yield problem(f"Overdue and not started: {_names(entries)}.", to_do)
    else:
        yield ok("No scheduled run is overdue.")
    failed = ScheduleEntry.open_entries().filter(state__in=(ScheduleState.FAILED, ScheduleState.MISSED))
    if entries := list(failed):
        to_do = "Check the run. Then `manage.py schedule add` the account again, or `schedule remove` it."
        yield problem(f"Failed, and not tried again automatically: {_names(entries)}.", to_do)
    else:
        yield ok("No failed schedule entry needs an operator.")
    if not settings.SCHEDULER_ENABLED:
        yield off("SCHEDULER_ENABLED is off: only runs that a guard deferred start automatically.")


def _names(entries: list[ScheduleEntry]) -> str:
    named = [f"{entry.account.account_id} of {new_york_time(entry.due_at)}" for entry in entries[:MAX_NAMED_ENTRIES]]
    more = f" and {len(entries) - MAX_NAMED_ENTRIES} more" if len(entries) > MAX_NAMED_ENTRIES else ""
    return f"{', '.join(named)}{more}"
