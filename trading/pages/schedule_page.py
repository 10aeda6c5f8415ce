"""The schedule: waiting, missed and past entries, and the strategies with a cadence or drift checks."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.models import Strategy
from trading.actions.previews import EXECUTE_PERMISSION, VIEW_PERMISSION
from trading.market_calendar import market_calendar
from trading.models import ScheduledJob, ScheduleEntry
from trading.pages.layout import render_page
from trading.pages.permissions import require_permission
from trading.schedule.cadence import next_cadence_open
from trading.schedule.next_open import next_open

ENTRIES_SHOWN = 100
PAST_SHOWN = 30
JOBS_SHOWN = 10


@require_GET
@require_permission(VIEW_PERMISSION)
def schedule(request: HttpRequest) -> HttpResponse:
    """Show the schedule."""
    now, calendar = timezone.now(), market_calendar()
    session = calendar.session_of(now)
    waiting = ScheduleEntry.open_entries()
    regular = Strategy.objects.filter(enabled=True).exclude(
        cadence=Strategy.Cadence.NONE, drift_check=Strategy.DriftCheck.OFF
    )
    context = {
        "enabled": settings.SCHEDULER_ENABLED,
        "session": session,
        "is_open": session.is_open_at(now),
        "opening": next_open(now, calendar),
        "waiting": waiting[:ENTRIES_SHOWN],
        "waiting_count": waiting.count(),
        "past": ScheduleEntry.past_entries().order_by("-due_at", "-id")[:PAST_SHOWN],
        "regular": [
            {"strategy": strategy, "opening": next_cadence_open(strategy, now, calendar)} for strategy in regular
        ],
        "jobs": ScheduledJob.objects.order_by("-due_at", "key")[:JOBS_SHOWN],
        "may_remove": request.user.has_perm(EXECUTE_PERMISSION),
    }
    return render_page(request, "trading/schedule.html", context, "Schedule")
