"""The schedule page: upcoming and past entries, and the cadences of strategies."""

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
from trading.schedule.cadence import coming_open
from trading.schedule.entries import open_entries
from trading.schedule.next_open import next_open

ENTRIES_SHOWN = 100
PAST_SHOWN = 30


@require_GET
@require_permission(VIEW_PERMISSION)
def schedule(request: HttpRequest) -> HttpResponse:
    """Return the schedule page."""
    now, calendar = timezone.now(), market_calendar()
    waiting = open_entries()
    regular = Strategy.objects.filter(enabled=True).exclude(
        cadence=Strategy.Cadence.NONE, drift_check=Strategy.DriftCheck.OFF
    )
    context = {
        "enabled": settings.SCHEDULER_ENABLED,
        "session": calendar.session_of(now),
        "is_open": calendar.session_of(now).is_open_at(now),
        "opening": next_open(now, calendar),
        "waiting": waiting[:ENTRIES_SHOWN],
        "waiting_count": waiting.count(),
        "past": ScheduleEntry.past_entries().order_by("-due_at", "-id")[:PAST_SHOWN],
        "regular": [{"strategy": one, "opening": coming_open(one, now, calendar)} for one in regular],
        "jobs": ScheduledJob.objects.order_by("-due_at", "key")[:10],
        "may_remove": request.user.has_perm(EXECUTE_PERMISSION),
    }
    return render_page(request, "trading/schedule.html", context, "Schedule")
