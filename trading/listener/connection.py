"""One life of the SDK's clients, with the channels over them, from opening to close."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
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
from trading.listener.watchdog import FLAPS, Observation, Verdict, Watch

logger = logging.getLogger("rebalancer.trading")


class KeyRefused(Exception):  # noqa: N818 - it says what is so
    """The service will not have this key."""


class AblyConnection:
    """Clients that are connected, or not; made anew rather than mended."""

    def __init__(self, config: ListenerConfig, intake: Intake, status: Status) -> None:
        self._timing = config.timing
        self._intake = intake
        self._status = status
        self._watch = Watch(config.timing)
        self._look = asyncio.Event()
        self._deaf = ""
        self._connects: deque[float] = deque(maxlen=FLAPS + 2)
        self._started_at = timezone.now()
        self.channels: dict[str, ChannelListener] = {}
        try:
            self._rest = clients.open_rest(config)
            self._realtime = clients.open_realtime(config)
        except (AblyException, ValueError) as error:
            raise KeyRefused(f"REALTIME_API_KEY has not the form of a key ({type(error).__name__})") from error
        self._history = History(self._rest, config.timing.request)
        self._realtime.connection.on(self._on_connection_state)

    # ---- called back by the SDK

    def _on_connection_state(self, change: ConnectionStateChange) -> None:
        if change.current == ConnectionState.CONNECTED:
            self._connects.append(asyncio.get_running_loop().time())
        self._look.set()

    def _on_deaf(self, reason: str) -> None:
        self._deaf = reason
        self._look.set()

    # ---- channels

    async def serve(self, names: Iterable[str]) -> None:
        """Listens to these channels and to no others."""
        wanted = set(names)
        for name in set(self._status.channels) - wanted - set(self.channels):
            del self._status.channels[name]
        for name in sorted(set(self.channels) - wanted):
            logger.info("Channel %s is not listened to any more", name)
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
                status=self._status.of(name),
                timing=self._timing,
                on_deaf=self._on_deaf,
            )
            self.channels[name].start()

    # ---- the watchdog

    async def watch_once(self) -> Verdict:
        """Waits for the next look, or for a reason to look now, and judges.

        Raises:
            KeyRefused: the service will not have the key.
        """
        try:
            async with asyncio.timeout(self._timing.watch):
                await self._look.wait()
        except TimeoutError:
            pass
        self._look.clear()
        verdict = self._watch.judge(await self._observe(), asyncio.get_running_loop().time())
        state = self._realtime.connection.state.value
        if verdict.is_healthy:
            self._status.connection.is_now(LISTENING, well=True)
        else:
            self._status.connection.is_now(state, verdict.problem)
        error = self._realtime.connection.error_reason
        if state == ConnectionState.FAILED and clients.refuses_key(error):
            raise KeyRefused(clients.words(error))
        return verdict

    async def _observe(self) -> Observation:
        connection = self._realtime.connection
        ping_problem = await self._ping() if connection.state == ConnectionState.CONNECTED else ""
        now, loop_time = timezone.now(), asyncio.get_running_loop().time()
        stale = timedelta(seconds=self._timing.stale)
        return Observation(
            connection=str(connection.state.value),
            ping_problem=ping_problem,
            unattached=tuple(name for name, one in self.channels.items() if not one.is_attached and not one.is_refused),
            stale=tuple(
                name
                for name, one in self.channels.items()
                if not one.is_refused and now - max(one.status.last_catch_up_at or now, self._started_at) > stale
            ),
            reconnects=sum(loop_time - at < self._timing.bad for at in self._connects),
            deaf=self._deaf,
        )

    async def _ping(self) -> str:
        try:
            async with asyncio.timeout(self._timing.ping):
                self._status.ping_ms = await self._realtime.connection.ping()
        except TimeoutError:
            return f"no answer to a ping within {self._timing.ping:g} s"
        except AblyException as error:
            return clients.words(error)
        except Exception as error:  # noqa: BLE001 - what the SDK's transport raises has no common root
            return clients.words(error)
        self._status.last_ping_at = timezone.now()
        return ""

    async def close(self) -> None:
        """Ends it, within a deadline; what it has taken in is in the queue."""
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()))
        await asyncio.gather(
            clients.close(self._realtime, self._timing.close), clients.close(self._rest, self._timing.close)
        )
