"""Actions that add an account to the schedule or remove it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.models import Account
from brokers.exchange_calendar import NEW_YORK
from trading.errors import Refused
from trading.pages.layout import user_of
from trading.pages.permissions import require_permission
from trading.schedule.entries import schedule_account, unschedule_account

VIEW_PERMISSION = "accounts.view_account"


@require_POST
@require_permission(VIEW_PERMISSION)
def add(request: HttpRequest, account_id: str) -> HttpResponse:
    """Schedule the account for the next exchange open."""
    account = get_object_or_404(Account.objects.select_related("strategy"), account_id=account_id)
    try:
        entry = schedule_account(account, user_of(request))
        at = f"{entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
        messages.success(request, f"{account.display_name} is scheduled for {at}.")
    except Refused as refusal:
        messages.error(request, refusal.message)
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
        messages.error(request, refusal.message)
    return redirect("trading:account", account_id=account_id)
