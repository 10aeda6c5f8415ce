"""The notifications page: channels, messages with their deliveries, and a test message."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from trading.errors import Refused
from trading.models import Delivery, DeliveryState, Notification, without_documents
from trading.notify.apprise_channel import TEST_PERMISSION, channel_rows, send_test
from trading.pages.layout import render_page, user_of
from trading.pages.pagination import cursor_page
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal

VIEW_PERMISSION = "trading.view_notification"
PAGE_SIZE = 30


@require_GET
@require_permission(VIEW_PERMISSION)
def notifications(request: HttpRequest) -> HttpResponse:
    """Show the channels, which events cause a message, and the messages with their deliveries."""
    sent = Notification.objects.select_related("run").prefetch_related("deliveries")
    context = {
        "channels": channel_rows(),
        "linked": bool(settings.SITE_URL),
        "values_included": settings.USER_NOTIFICATIONS_INCLUDE_VALUES,
        "page": cursor_page(without_documents(sent, "run__"), request, PAGE_SIZE),
        "pending": Delivery.objects.filter(state=DeliveryState.PENDING).count(),
        "may_test": request.user.has_perm(TEST_PERMISSION),
    }
    return render_page(request, "trading/notifications.html", context, "Notifications")


@require_POST
@require_permission(VIEW_PERMISSION)
def send_test_message(request: HttpRequest) -> HttpResponse:
    """Send a test message to every channel."""
    try:
        send_test(user_of(request))
        messages.success(request, "Test message sent to every channel. Check that it arrived.")
    except Refused as refusal:
        show_refusal(request, refusal)
    return redirect("trading:notifications")
