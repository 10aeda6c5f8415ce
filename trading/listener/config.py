"""The address of the Ably service, and every wait and interval of the listener."""

from django.conf import settings
from pydantic import SecretStr

from trading.models.run_documents import TradingValue


class Timing(TradingValue):
    """Waits and intervals of the listener, in seconds."""

    request: float = 10
    """Maximum wait for a connection, an attach, or one page of history."""
    ping: float = 5
    """Maximum wait for the response to a ping."""
    watch: float = 10
    """Interval between two checks of the connection."""
    unhealthy: float = 60
    """Maximum time that a connection may be unhealthy before the clients are recreated."""
    suspended: float = 300
    """The same for a suspended connection, and the time without a connection after which operators are notified."""
    reconcile: float = 60
    """Interval between two catch-ups of a healthy channel."""
    catch_up_age: float = 240
    """Maximum age of a channel's latest catch-up."""
    history_retry: float = 5
    """Wait before history is read again after an error."""
    grace: float = 10
    """Maximum delay of a live message. A message that only history has after this time was missed."""
    overlap: float = 120
    """Time before the stored offset from which history is read, because it can be written out of order."""
    refused: float = 300
    """Wait before a refused key or channel is tried again."""
    back_off_first: float = 1
    back_off_longest: float = 60
    client_retry: float = 2
    """Wait of the SDK before it connects or attaches again."""
    strategies: float = 15
    """Interval between two checks for added, renamed and disabled strategies."""
    sweep: float = 15
    heartbeat: float = 5
    """Interval between two heartbeats."""
    close: float = 1.2
    """Maximum wait for the clients to close."""
    drain: float = 2.5
    """Maximum wait at shutdown until received messages are stored. History has the rest."""


class ListenerConfig(TradingValue):
    """The settings of a listener."""

    key: SecretStr
    endpoint: str = ""
    port: int | None = None
    tls: bool = True
    timing: Timing = Timing()

    @property
    def host(self) -> str:
        """The host name for messages."""
        return f"{self.endpoint or 'Ably'}{f':{self.port}' if self.port else ''}"


def configured() -> ListenerConfig:
    """Return the configuration from the settings."""
    return ListenerConfig(
        key=settings.REALTIME_API_KEY,
        endpoint=settings.ABLY_ENDPOINT,
        port=settings.ABLY_PORT,
        tls=settings.ABLY_TLS,
        timing=Timing(sweep=settings.SWEEP_SECONDS),
    )
