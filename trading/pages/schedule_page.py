"""The schedule: waiting, missed and past entries, strategies with a cadence or drift checks, and changes by users."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account, Strategy
from trading.actions.previews import VIEW_PERMISSION
from trading.common.formats import new_york_time
from trading.errors import Refused
from trading.guards.may_trade import EXECUTE_PERMISSION
from trading.market_calendar import market_calendar
from trading.models import ScheduledJob, ScheduleEntry
from trading.pages.layout import render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal
from trading.pages.would_be_plan import plan_totals
from trading.schedule.cadence import next_cadence_open
from trading.schedule.entries import schedule_account, unschedule_account
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
    shown = list(waiting[:ENTRIES_SHOWN])
    totals = plan_totals(entry.account for entry in shown)
    regular = Strategy.objects.filter(enabled=True).exclude(
        cadence=Strategy.Cadence.NONE, drift_check=Strategy.DriftCheck.OFF
    )
    context = {
        "enabled": settings.SCHEDULER_ENABLED,
        "session": session,
        "is_open": session.is_open_at(now),
        "opening": next_open(now, calendar),
        "waiting": [{"entry": entry, "plan": totals.get(entry.account_id)} for entry in shown],
        "waiting_count": waiting.count(),
        "past": ScheduleEntry.past_entries().order_by("-due_at", "-id")[:PAST_SHOWN],
        "regular": [
            {"strategy": strategy, "opening": next_cadence_open(strategy, now, calendar)} for strategy in regular
        ],
        "jobs": ScheduledJob.objects.order_by("-due_at", "key")[:JOBS_SHOWN],
        "may_remove": request.user.has_perm(EXECUTE_PERMISSION),
    }
    return render_page(request, "trading/schedule.html", context, "Schedule")


@require_POST
@require_permission(VIEW_PERMISSION)
def add(request: HttpRequest, account_id: str) -> HttpResponse:
    """Schedule the account for the next market open."""
    account = get_object_or_404(Account.objects.with_followed_strategy(), account_id=account_id)
    try:
        entry = schedule_account(
            account,
            user_of(request),
            typed_account_id=request.POST.get("account_id", ""),
            code=request.POST.get("code", ""),
        )
    except Refused as refusal:
        show_refusal(request, refusal)
        return redirect("trading:schedule_confirm", account_id=account_id)
    messages.success(request, f"{account.display_name} will be rebalanced on {new_york_time(entry.due_at)}.")
    return redirect("trading:account", account_id=account_id)


@require_POST
@require_permission(VIEW_PERMISSION)
def remove(request: HttpRequest, account_id: str) -> HttpResponse:
    """Remove the account from the schedule."""
    account = get_object_or_404(Account, account_id=account_id)
    try:
        unschedule_account(account, user_of(request))
        messages.success(request, f"{account.display_name} was removed from the schedule.")
    except Refused as refusal:
        show_refusal(request, refusal)
    if request.POST.get("from") == "schedule":
        return redirect("trading:schedule")
    return redirect("trading:account", account_id=account_id)
