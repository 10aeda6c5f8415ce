"""The notification channels that the settings configure."""

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from django.conf import settings


@dataclass(frozen=True)
class Channel:
    """A notification channel.

    The name is stored in deliveries and contains no secret: the setting, and its position in the list. Correcting the
    URL of a channel therefore also applies to its pending deliveries.
    """

    name: str
    url: str = field(repr=False)

    @property
    def masked_url(self) -> str:
        """The scheme and host. Topics and tokens are secret: an ntfy topic can be read by anyone who knows it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or '…'}/…"


def channels() -> list[Channel]:
    """Return the configured channels, with Apprise URLs."""
    urls = enumerate(settings.NOTIFICATION_URLS, start=1)
    found = [Channel(f"NOTIFICATION_URLS {number}", url.get_secret_value()) for number, url in urls]
    if settings.USER_NOTIFICATIONS_ENABLED and settings.USER_NOTIFICATIONS_CHANNEL:
        server = urlsplit(settings.USER_NOTIFICATIONS_SERVER_URL)
        scheme = "ntfys" if server.scheme == "https" else "ntfy"
        topic = quote(settings.USER_NOTIFICATIONS_CHANNEL, safe="")
        found.append(Channel("USER_NOTIFICATIONS_CHANNEL", f"{scheme}://{server.netloc}/{topic}"))
    return found
