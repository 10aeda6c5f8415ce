"""Delivers the outbox: ntfy under the names that existing installations use, anything else through Apprise."""

import logging
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import apprise
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from trading.common.fail_points import FailPoint, reached
from trading.common.log_context import redact
from trading.errors import Refused
from trading.models import Notification, NotificationKind, NotificationState
from trading.notify.retry import MAX_ATTEMPTS, claim, is_last_attempt

logger = logging.getLogger("rebalancer.trading")

TEST_PERMISSION = "accounts.execute_account"
TYPES = {
    NotificationKind.SUCCESS: apprise.NotifyType.SUCCESS,
    NotificationKind.WARNING: apprise.NotifyType.WARNING,
    NotificationKind.FAILURE: apprise.NotifyType.FAILURE,
    NotificationKind.BLOCKED: apprise.NotifyType.WARNING,
}


def targets() -> list[str]:
    """Apprise URLs of everybody who is told."""
    urls = [url.get_secret_value() for url in settings.NOTIFICATION_URLS]
    if settings.USER_NOTIFICATIONS_ENABLED and settings.USER_NOTIFICATIONS_CHANNEL:
        server = urlsplit(settings.USER_NOTIFICATIONS_SERVER_URL)
        scheme = "ntfys" if server.scheme == "https" else "ntfy"
        urls.append(f"{scheme}://{server.netloc}/{quote(settings.USER_NOTIFICATIONS_CHANNEL, safe='')}")
    return urls


@dataclass(frozen=True)
class Channel:
    """A place where messages go, without the secrets of its address."""

    service: str
    address: str
    is_known: bool
    setting: str


def channels() -> list[Channel]:
    """Everybody who is told, as a page may show it."""
    own = len(settings.NOTIFICATION_URLS)
    return [
        _channel(url, "NOTIFICATION_URLS" if index < own else "USER_NOTIFICATIONS_CHANNEL")
        for index, url in enumerate(targets())
    ]


def _channel(url: str, setting: str) -> Channel:
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        return Channel("Unknown", "an address that Apprise does not know", is_known=False, setting=setting)
    return Channel(str(service.service_name), _without_secrets(url), is_known=True, setting=setting)


def _without_secrets(url: str) -> str:
    """Scheme and host: topics and keys stand behind them, and whoever knows a topic can read it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or '…'}/…"


def send_test(person: User) -> None:
    """Sends a message to every channel at once, past the outbox, so that its answer is the channels' own.

    Raises:
        Refused: the person has no right, nothing is configured, or a channel did not take it.
    """
    if not person.has_perm(TEST_PERMISSION):
        raise Refused("not_permitted", "You may not send test messages. Ask someone with the right to execute.")
    urls = targets()
    if not urls:
        raise Refused("no_channel", "No notification channel is configured. Set NOTIFICATION_URLS.")
    everybody = apprise.Apprise()
    known = [everybody.add(url) for url in urls]
    body = f"{person} has sent this to see whether messages of the rebalancer arrive. They do."
    if not everybody.notify(title="Test message", body=body) or not all(known):
        raise Refused("test_not_delivered", "At least one channel did not take the message; the log says which.")


def deliver_due(limit: int = 50) -> int:
    """Sends the messages that are due; one that fails is tried again, later each time.

    Returns:
        How many were sent.
    """
    sent = 0
    due = Notification.objects.filter(state=NotificationState.PENDING, next_attempt_at__lte=timezone.now())
    for message in due.order_by("id")[:limit]:
        if claim(message):
            sent += _deliver(message)
    return sent


def _deliver(message: Notification) -> bool:
    urls = targets()
    if not urls:
        return _mark(message, NotificationState.ABANDONED, "No notification channel is configured.")
    channels = apprise.Apprise()
    if [url for url in urls if not channels.add(url)]:
        logger.error("A notification URL is not one that Apprise knows. Check NOTIFICATION_URLS.")
    if channels.notify(title=message.title, body=message.body, notify_type=TYPES[NotificationKind(message.kind)]):
        reached(FailPoint.NOTIFICATION_SENT)
        return _mark(message, NotificationState.SENT, "")
    logger.warning("A notification could not be delivered (attempt %s)", message.attempts + 1)
    if is_last_attempt(message):
        return _mark(message, NotificationState.ABANDONED, f"Not delivered after {MAX_ATTEMPTS} attempts.")
    Notification.objects.filter(pk=message.pk).update(last_error="A channel did not take it; see the log.")
    return False


def _mark(message: Notification, state: NotificationState, error: str) -> bool:
    Notification.objects.filter(pk=message.pk).update(
        state=state, last_error=redact(error), sent_at=timezone.now() if state == NotificationState.SENT else None
    )
    return state == NotificationState.SENT
