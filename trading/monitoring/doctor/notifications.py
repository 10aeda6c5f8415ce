"""Notifications: where they go, and whether they get there."""

from datetime import timedelta

import apprise
from django.utils import timezone

from trading.models import Delivery, DeliveryState
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.notify.channels import channels

CHECK = "notifications"
OVERDUE = timedelta(minutes=10)
RECENT = timedelta(days=1)


def check() -> list[Finding]:
    """The channels that are configured, and the outbox."""
    urls = [channel.url for channel in channels()]
    if not urls:
        to_do = "Set USER_NOTIFICATIONS_ENABLED with a channel, or NOTIFICATION_URLS, if you want to be told."
        return [off(CHECK, f"No channel is configured: nobody is told of failures. {to_do}")]
    unknown = sum(1 for url in urls if not apprise.Apprise().add(url))
    if unknown:
        words = f"{unknown} of {len(urls)} notification URLs are none that Apprise knows."
        return [problem(CHECK, words, "Correct NOTIFICATION_URLS.")]
    return [ok(CHECK, f"{len(urls)} channels are configured."), _outbox()]


def _outbox() -> Finding:
    now = timezone.now()
    overdue = Delivery.objects.filter(state=DeliveryState.PENDING, created_at__lt=now - OVERDUE).count()
    given_up = Delivery.objects.filter(state=DeliveryState.ABANDONED, created_at__gte=now - RECENT).count()
    if overdue or given_up:
        words = f"{overdue} messages are overdue, {given_up} were given up since yesterday."
        return problem(CHECK, words, "See the log for what the channel answered; the messages are in the admin.")
    return ok(CHECK, "The outbox holds nothing overdue.")
