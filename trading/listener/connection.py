"""One pair of SDK clients with the channels over them, from opening to closing."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from ably import AblyException
from ably.types.connectionstate import ConnectionState, ConnectionStateChange
from django.utils import timezone

from trading.listener import clients
from trading.listener.channel import ChannelListener
from trading.listener.config import ListenerConfig
from trading.listener.history import History
from trading.listener.intake import Intake
from trading.listener.status import LISTENING, Status
from trading.listener.watchdog import MAX_RECONNECTS, Observation, Verdict, Watchdog

logger = logging.getLogger("rebalancer.trading")


class KeyRefused(Exception):  # noqa: N818 - a state, not a defect
    """The service rejects the key."""


class AblyConnection:
    """A connection to Ably. An unhealthy one is replaced, not repaired."""

    def __init__(self, config: ListenerConfig, intake: Intake, status: Status) -> None:
        self._timing = config.timing
        self._intake = intake
        self._status = status
        self._watchdog = Watchdog(config.timing)
        self._check_now = asyncio.Event()
        self._stale_reason = ""
        self._connects: deque[float] = deque(maxlen=MAX_RECONNECTS + 2)
        self._started_at = timezone.now()
        self.channels: dict[str, ChannelListener] = {}
        try:
            self._rest = clients.open_rest(config)
            self._realtime = clients.open_realtime(config)
        except (AblyException, ValueError) as error:
            raise KeyRefused(f"REALTIME_API_KEY does not have the form of a key ({type(error).__name__})") from error
        self._history = History(self._rest, config.timing.request)
        self._realtime.connection.on(self._on_connection_state)

    # ---- callbacks

    def _on_connection_state(self, change: ConnectionStateChange) -> None:
        if change.current == ConnectionState.CONNECTED:
            self._connects.append(asyncio.get_running_loop().time())
        self._check_now.set()

    def _on_stale(self, reason: str) -> None:
        self._stale_reason = reason
        self._check_now.set()

    # ---- channels

    async def serve(self, names: Iterable[str]) -> None:
        """Listen to exactly these channels."""
        wanted = set(names)
        for name in set(self._status.channels) - wanted - set(self.channels):
            del self._status.channels[name]
        for name in sorted(set(self.channels) - wanted):
            logger.info("No longer listening to channel %s", name)
            await self.channels.pop(name).stop(detach=True)
            self._realtime.channels.release(name)
            self._status.channels.pop(name, None)
        for name in sorted(wanted - set(self.channels)):
            logger.info("Listening to channel %s", name)
            self.channels[name] = ChannelListener(
                name,
                realtime=self._realtime,
                history=self._history,
                intake=self._intake,
                status=self._status.channel(name),
                timing=self._timing,
                on_stale=self._on_stale,
            )
            self.channels[name].start()

    # ---- watchdog

    async def watch_once(self) -> Verdict:
        """Wait until the next check is due or a callback requests one, then evaluate the connection.

        Raises:
            KeyRefused: the service rejects the key.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.watch):
                await self._check_now.wait()
        self._check_now.clear()
        verdict = self._watchdog.evaluate(await self._observe(), asyncio.get_running_loop().time())
        state = self._realtime.connection.state.value
        shown = LISTENING if verdict.is_healthy else state
        self._status.connection.update(shown, verdict.problem, healthy=verdict.is_healthy)
        error = self._realtime.connection.error_reason
        if state == ConnectionState.FAILED and clients.refuses_key(error):
            raise KeyRefused(clients.describe(error))
        return verdict

    async def _observe(self) -> Observation:
        connection = self._realtime.connection
        ping_problem = await self._ping() if connection.state == ConnectionState.CONNECTED else ""
        now, loop_time = timezone.now(), asyncio.get_running_loop().time()
        max_age = timedelta(seconds=self._timing.catch_up_age)
        accessible = {name: channel for name, channel in self.channels.items() if not channel.is_refused}
        return Observation(
            connection=str(connection.state.value),
            ping_problem=ping_problem,
            unattached=tuple(name for name, channel in accessible.items() if not channel.is_attached),
            behind=tuple(
                name
                for name, channel in accessible.items()
                if now - max(channel.status.last_catch_up_at or now, self._started_at) > max_age
            ),
            reconnects=sum(loop_time - at < self._timing.unhealthy for at in self._connects),
            stale_reason=self._stale_reason,
        )

    async def _ping(self) -> str:
        """Ping the service, and return what went wrong."""
        try:
            async with asyncio.timeout(self._timing.ping):
                self._status.ping_ms = await self._realtime.connection.ping()
        except TimeoutError:
            return f"no response to a ping within {self._timing.ping:g} s"
        except Exception as error:  # noqa: BLE001 - errors of the SDK's transport have no common base class
            return clients.describe(error)
        self._status.last_ping_at = timezone.now()
        return ""

    async def close(self) -> None:
        """Close the clients within their deadline. Received messages are in the queue already."""
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()))
        await asyncio.gather(
            clients.close(self._realtime, self._timing.close), clients.close(self._rest, self._timing.close)
        )
