"""The schedule: what should have started, and what nobody has taken up."""

from django.conf import settings
from django.utils import timezone

from brokers.exchange_calendar import NEW_YORK
from trading.models import ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.schedule.market_open import ON_TIME

CHECK = "schedule"
NAMED = 5


def check() -> list[Finding]:
    """Entries that are overdue, and those that went wrong and wait for somebody."""
    findings = [_overdue(), _went_wrong()]
    if not settings.SCHEDULER_ENABLED:
        findings.append(
            off(CHECK, "SCHEDULER_ENABLED is off: nothing but what a guard has put aside starts by itself.")
        )
    return findings


def _overdue() -> Finding:
    late = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__lt=timezone.now() - ON_TIME)
    if not settings.SCHEDULER_ENABLED:
        late = late.filter(origin=ScheduleOrigin.DEFERRED)
    if entries := list(late.select_related("account")):
        words = f"Should have started, and nothing has taken it up: {_names(entries)}."
        return problem(CHECK, words, "Workers start it: see that `manage.py qworker` runs, and look at its log.")
    return ok(CHECK, "Nothing on the schedule is overdue.")


def _went_wrong() -> Finding:
    wrong = ScheduleEntry.open_entries().filter(state__in=(ScheduleState.FAILED, ScheduleState.MISSED))
    if entries := list(wrong):
        words = f"Went wrong, and nothing follows by itself: {_names(entries)}."
        return problem(
            CHECK, words, "Look at the run; then `manage.py schedule add` it again, or `schedule remove` it."
        )
    return ok(CHECK, "Nothing on the schedule waits for a person.")


def _names(entries: list[ScheduleEntry]) -> str:
    named = [
        f"{entry.account.account_id} of {entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
        for entry in entries[:NAMED]
    ]
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return f"{', '.join(named)}{more}"
