"""Send pending deliveries to their channels, with retries."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from trading.common.fail_points import FailPoint, reached
from trading.common.log_context import redact
from trading.models import Delivery, DeliveryState
from trading.notify import apprise_channel, webhooks
from trading.notify.channels import channels

logger = logging.getLogger("rebalancer.trading")

MAX_ATTEMPTS = 12
MAX_WAIT_SECONDS = 3600
"""Longest wait between two attempts, in seconds."""


def deliver_due(limit: int = 50) -> int:
    """Send the due deliveries of all channels, at most `limit` for each channel, and return their number.

    The channels are served at the same time, one delivery each. A failed delivery is retried later, after a longer
    wait each time. Its channel is skipped until the next call, so that its timeouts do not delay the other channels.
    """
    now, sent, failed = timezone.now(), 0, set[str]()
    for _ in range(limit):
        if not (claimed := _claim_next(now, failed)):
            break
        errors = asyncio.run(_send_all(claimed))
        if "" in errors:
            reached(FailPoint.NOTIFICATION_SENT)
        for delivery, error in zip(claimed, errors, strict=True):
            _record(delivery, error)
            if error:
                failed.add(delivery.channel)
        sent += errors.count("")
    return sent


def _claim_next(now: datetime, failed: set[str]) -> list[Delivery]:
    """Claim the delivery of each channel that has been due for the longest time."""
    due = Delivery.objects.filter(state=DeliveryState.PENDING, next_attempt_at__lte=now).exclude(channel__in=failed)
    names = due.order_by().values_list("channel", flat=True).distinct()
    ordered = due.select_related("notification", "webhook").order_by("next_attempt_at", "id")
    first = [ordered.filter(channel=name).first() for name in names]
    return [delivery for delivery in first if delivery is not None and _claim(delivery)]


def _claim(delivery: Delivery) -> bool:
    """Count an attempt and set the time of the next one, so that no other process sends the delivery too."""
    wait = timedelta(seconds=min(5 * 2**delivery.attempts, MAX_WAIT_SECONDS))
    pending = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.PENDING, attempts=delivery.attempts)
    delivery.attempts += 1
    return bool(pending.update(attempts=F("attempts") + 1, next_attempt_at=timezone.now() + wait))


async def _send_all(deliveries: list[Delivery]) -> list[str]:
    urls = {channel.name: channel.url for channel in channels()}
    return list(await asyncio.gather(*(_send(delivery, urls.get(delivery.channel)) for delivery in deliveries)))


async def _send(delivery: Delivery, url: str | None) -> str:
    """Return the error of one attempt; empty if the delivery was accepted."""
    try:
        if delivery.webhook is not None:
            return await webhooks.send(delivery, delivery.webhook)
        if url is None:
            return "The channel is not configured. Check NOTIFICATION_URLS and USER_NOTIFICATIONS_CHANNEL."
        message = delivery.notification
        kind = apprise_channel.TYPES[message.kind]
        return await asyncio.to_thread(apprise_channel.send, url, message.title, message.body, kind)
    except Exception:  # one channel must not stop the others
        logger.exception("Unexpected error while sending to %s", delivery.channel)
        return "Unexpected error. See the log."


def _record(delivery: Delivery, error: str) -> None:
    changes: dict[str, Any] = {"last_error": redact(error)}
    if not error:
        changes |= {"state": DeliveryState.SENT, "sent_at": timezone.now()}
    else:
        logger.warning("Delivery to %s failed (attempt %s): %s", delivery.channel, delivery.attempts, error)
        if delivery.attempts >= MAX_ATTEMPTS:
            changes |= {"state": DeliveryState.ABANDONED}
    Delivery.objects.filter(pk=delivery.pk).update(**changes)
