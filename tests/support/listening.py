"""A listener that runs beside a test, with every wait made short."""

import asyncio
import threading
import time

from pydantic import SecretStr

from trading.listener.config import ListenerConfig, Timing
from trading.listener.listener import Listener
from trading.models import ProcessHeartbeat

QUICK = Timing(
    request=2,
    ping=0.3,
    watch=0.1,
    bad=0.6,
    suspended=2,
    reconcile=0.4,
    stale=5,
    history_retry=0.1,
    grace=0.2,
    overlap=120,
    refused=0.4,
    back_off_first=0.05,
    back_off_longest=0.2,
    client_retry=0.1,
    strategies=0.2,
    sweep=1,
    beat=0.1,
    close=1.5,
    drain=20,
)


def eventually(condition, what, seconds=30):
    """Looks until the condition holds, and returns what it found."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} seconds.")


class Listening:
    """A listener in a thread with a loop of its own."""

    def __init__(self, server, timing=QUICK, **fields):
        config = {"key": SecretStr(server.key), "endpoint": "127.0.0.1", "port": server.port, "tls": False}
        self.listener = Listener(ListenerConfig(timing=timing, **(config | fields)))
        self.error = None

    def __enter__(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self.stop()
        if self.error is not None:
            raise self.error

    def _run(self):
        async def listen():
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            self._ready.set()
            await self.listener.run(self._stop)

        try:
            asyncio.run(listen())
        except Exception as error:  # noqa: BLE001 - shown by the test that ends it
            self.error = error

    def stop(self):
        """Tells it to stop, as SIGTERM does, and waits for its end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def until_attached(self, *channels):
        """Waits until these channels are heard."""
        status = self.listener.status

        def attached():
            return all(
                name in status.channels
                and status.channels[name].listener_health.state == "attached"
                and status.channels[name].last_catch_up_at
                for name in channels
            )

        eventually(attached, f"Attaching {', '.join(channels)}")
        return self

    def until(self, state, what):
        """Waits until a channel, or the connection (``), is in this state."""
        status = self.listener.status

        def found():
            if what and what not in status.channels:
                return False
            trouble = status.channels[what].listener_health if what else status.connection
            return trouble.state == state and trouble

        return eventually(found, f"{what or 'The connection'} {state}")


def heartbeat():
    """What the newest listener has told of itself."""
    return ProcessHeartbeat.objects.filter(kind="listener").latest("at").details
