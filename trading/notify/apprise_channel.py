"""Channels that Apprise serves, ntfy included."""

import apprise
from django.contrib.auth.models import User

from trading.errors import Refused
from trading.models import NotificationKind
from trading.notify.channels import channels

TEST_PERMISSION = "accounts.execute_account"
TYPES: dict[str, apprise.NotifyType] = {
    NotificationKind.SUCCESS: apprise.NotifyType.SUCCESS,
    NotificationKind.WARNING: apprise.NotifyType.WARNING,
    NotificationKind.FAILURE: apprise.NotifyType.FAILURE,
    NotificationKind.BLOCKED: apprise.NotifyType.WARNING,
}


def channel_rows() -> list[dict[str, str]]:
    """Return the configured channels without secrets. Service and address are empty if Apprise rejects the URL."""
    rows = []
    for channel in channels():
        service = apprise.Apprise.instantiate(channel.url, suppress_exceptions=True)
        found = {"service": str(service.service_name), "address": channel.masked_url} if service else {}
        rows.append({"name": channel.name, "service": "", "address": "", **found})
    return rows


def send(url: str, title: str, body: str, kind: apprise.NotifyType = apprise.NotifyType.INFO) -> str:
    """Send a message to one channel. Return the error; empty if the channel accepted the message."""
    service = apprise.Apprise()
    if not service.add(url):
        return "Apprise does not support this URL. Check NOTIFICATION_URLS."
    accepted = service.notify(title=title, body=body, notify_type=kind)
    return "" if accepted else "The channel did not accept the message. See the log."


def send_test(user: User) -> None:
    """Send a test message to every channel immediately, without the outbox.

    Raises:
        Refused: the user lacks the permission, no channel is configured, or a channel did not accept the message.
    """
    if not user.has_perm(TEST_PERMISSION):
        message = f"You do not have permission to send test messages ({TEST_PERMISSION}). Contact an administrator."
        raise Refused("not_permitted", message)
    if not (configured := channels()):
        raise Refused("no_channel", "No notification channel is configured. Set NOTIFICATION_URLS.")
    body = f"{user} sent this message to test the notifications of the rebalancer."
    if failed := [channel.name for channel in configured if send(channel.url, "Test message", body)]:
        raise Refused("test_not_delivered", f"Not accepted by: {', '.join(failed)}. See the log.")
