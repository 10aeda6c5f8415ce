"""Schedule an account for the next open, or remove it from the schedule."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.models import Account
from trading.actions.previews import VIEW_PERMISSION
from trading.errors import Refused
from trading.pages.layout import user_of
from trading.pages.permissions import require_permission
from trading.schedule.entries import schedule_account, unschedule_account
from trading.schedule.next_open import format_start


@require_POST
@require_permission(VIEW_PERMISSION)
def add(request: HttpRequest, account_id: str) -> HttpResponse:
    """Schedule the account for the next market open."""
    account = get_object_or_404(Account.objects.select_related("strategy"), account_id=account_id)
    try:
        entry = schedule_account(account, user_of(request))
        messages.success(request, f"{account.display_name} is scheduled for {format_start(entry.due_at)}.")
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
