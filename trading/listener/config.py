"""Where the service is, and how long everything may take."""

from django.conf import settings
from pydantic import SecretStr

from trading.models.run_documents import TradingValue


class Timing(TradingValue):
    """Every wait of the listener, in seconds."""

    request: float = 10
    """Connecting, attaching, one page of history."""
    ping: float = 5
    watch: float = 10
    """How often the watchdog looks."""
    bad: float = 60
    """How long something may be amiss before the clients are made anew."""
    suspended: float = 300
    reconcile: float = 60
    """How often history is read although all looks well."""
    stale: float = 240
    """Age at which the latest catch-up is no longer good enough."""
    history_retry: float = 5
    grace: float = 10
    """What history has and was not heard live for so long was missed."""
    overlap: float = 120
    """How far before the last certain point history is read again: it may be written out of order."""
    refused: float = 300
    """Pause after a refused key or channel."""
    back_off_first: float = 1
    back_off_longest: float = 60
    client_retry: float = 2
    """The SDK's own pause before it connects or attaches again."""
    strategies: float = 15
    """How often strategies that were added, renamed or disabled are looked for."""
    sweep: float = 15
    beat: float = 5
    close: float = 1.2
    """For the clients to say goodbye."""
    drain: float = 2.5
    """For what was heard to be stored, when it is told to stop; history has what is left."""


class ListenerConfig(TradingValue):
    """What a listener is told."""

    key: SecretStr
    endpoint: str = ""
    port: int | None = None
    tls: bool = True
    timing: Timing = Timing()

    @property
    def host(self) -> str:
        """The host as people know it, for messages."""
        return f"{self.endpoint or 'Ably'}{f':{self.port}' if self.port else ''}"


def configured() -> ListenerConfig:
    """What the installation's settings say."""
    return ListenerConfig(
        key=settings.REALTIME_API_KEY,
        endpoint=settings.ABLY_ENDPOINT,
        port=settings.ABLY_PORT,
        tls=settings.ABLY_TLS,
        timing=Timing(sweep=settings.SWEEP_SECONDS),
    )
