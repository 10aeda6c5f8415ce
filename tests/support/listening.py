"""Run a listener beside a test, with short waits."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from pydantic import SecretStr

from trading.listener.config import ListenerConfig, Timing
from trading.listener.listener import Listener
from trading.listener.status import Health
from trading.models import ProcessHeartbeat

QUICK = Timing(
    request=2,
    ping=0.3,
    watch=0.1,
    unhealthy=0.6,
    suspended=2,
    reconcile=0.4,
    catch_up_age=5,
    history_retry=0.1,
    grace=0.2,
    overlap=120,
    refused=0.4,
    back_off_first=0.05,
    back_off_longest=0.2,
    client_retry=0.1,
    strategies=0.2,
    sweep=1,
    heartbeat=0.1,
    close=1.5,
    drain=20,
)


def eventually(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Wait until the condition holds, and return its value."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} seconds.")


class Listening:
    """A listener in a thread with its own event loop."""

    def __init__(self, server: Any, timing: Timing = QUICK, **fields: Any) -> None:
        config = {"key": SecretStr(server.key), "endpoint": "127.0.0.1", "port": server.port, "tls": False}
        self.listener = Listener(ListenerConfig(timing=timing, **(config | fields)))
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        async def listen() -> None:
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            self._ready.set()
            await self.listener.run(self._stop)

        try:
            asyncio.run(listen())
        except Exception as error:  # noqa: BLE001 - raised by the test that ends the listener
            self.error = error

    def stop(self) -> None:
        """Stop the listener as SIGTERM does, and wait for its end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def until_attached(self, *channels: str) -> Self:
        """Wait until these channels are attached and caught up."""
        status = self.listener.status

        def attached() -> bool:
            return all(
                name in status.channels
                and status.channels[name].subscription.state == "attached"
                and status.channels[name].last_catch_up_at
                for name in channels
            )

        eventually(attached, f"Attaching {', '.join(channels)}")
        return self

    def until(self, state: str, channel: str = "") -> Health:
        """Wait until a channel, or the connection if none is named, is in this state."""
        status = self.listener.status

        def found() -> Health | None:
            if channel and channel not in status.channels:
                return None
            health = status.channels[channel].subscription if channel else status.connection
            return health if health.state == state else None

        health: Health = eventually(found, f"{channel or 'The connection'} {state}")
        return health


def heartbeat() -> Any:
    """Return the latest report of a listener."""
    return ProcessHeartbeat.objects.filter(kind="listener").latest("at").details
