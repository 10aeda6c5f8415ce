from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.models import Account
from trading.actions.previews import VIEW_PERMISSION
from trading.actions.refresh import request_refresh
from trading.errors import Refused
from trading.pages.layout import user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal
from trading.pages.site_status import site_status


@require_POST
@require_permission(VIEW_PERMISSION)
def refresh(request: HttpRequest, account_id: str) -> HttpResponse:
    """Request to read the account at the broker now."""
    account = get_object_or_404(Account, account_id=account_id)
    try:
        request_refresh(account, user_of(request))
        if site_status(request).workers_alive:
            messages.success(request, "The account is being read at the broker. Reading does not trade.")
        else:
            messages.warning(
                request, "Refresh requested; no worker is running. A worker reads the account when it starts."
            )
    except Refused as refusal:
        show_refusal(request, refusal)
    return redirect("trading:account", account_id=account_id)
