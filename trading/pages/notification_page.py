"""The notifications page: channels, rules, messages and the test message."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from trading.errors import Refused
from trading.models import Notification, NotificationState, without_documents
from trading.notify.deliver import channels, send_test
from trading.pages.layout import render_page, user_of
from trading.pages.pagination import cursor_page
from trading.pages.permissions import require_permission

VIEW_MESSAGES = "trading.view_notification"
A_PAGE = 30


@require_GET
@require_permission(VIEW_MESSAGES)
def notifications(request: HttpRequest) -> HttpResponse:
    """Return the notifications page."""
    context = {
        "channels": channels(),
        "linked": bool(settings.SITE_URL),
        "values_included": settings.USER_NOTIFICATIONS_INCLUDE_VALUES,
        "page": cursor_page(without_documents(Notification.objects.select_related("run"), "run__"), request, A_PAGE),
        "pending": Notification.objects.filter(state=NotificationState.PENDING).count(),
        "may_test": request.user.has_perm("accounts.execute_account"),
    }
    return render_page(request, "trading/notifications.html", context, "Notifications")


@require_POST
@require_permission(VIEW_MESSAGES)
def send_test_message(request: HttpRequest) -> HttpResponse:
    """Send a test message to every channel."""
    try:
        send_test(user_of(request))
        messages.success(request, "Test message sent to every channel. Check that it has arrived.")
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("trading:notifications")
