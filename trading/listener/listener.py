"""The listener process: one connection after another, and beside it the writer, the sweeper and the heartbeat."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import SystemRandom

from asgiref.sync import sync_to_async
from django import db
from django.utils import timezone

from trading.common.concurrency import cancel_until_done
from trading.common.formats import duration_text, new_york_time
from trading.listener import offsets
from trading.listener.alerts import alert
from trading.listener.config import ListenerConfig
from trading.listener.connection import AblyConnection, KeyRefused
from trading.listener.intake import Intake
from trading.listener.status import CONNECTING, REFUSED, WAITING, Status
from trading.monitoring.listener_report import STOPPED, ListenerReport
from trading.schedule.sweeper import record_heartbeat, sweep

logger = logging.getLogger("rebalancer.trading")


class Listener:
    """Receives events until it is stopped."""

    def __init__(self, config: ListenerConfig) -> None:
        self._config = config
        self._timing = config.timing
        self.status = Status()
        self._intake = Intake(self.status, config.timing)
        self._failures = 0
        self._outage_reported = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Then close the connection and store what was received."""
        parts = {
            name: asyncio.create_task(part, name=name)
            for name, part in (
                ("writer", self._intake.write()),
                ("connections", self._keep_connected()),
                ("sweeper", self._every(self._timing.sweep, self._sweep)),
                ("heartbeat", self._every(self._timing.heartbeat, self._beat)),
            )
        }
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stopped, *parts.values()}, return_when=asyncio.FIRST_COMPLETED)
            for part in done - {stopped}:
                part.result()  # a part ends only by an error, which ends the process; a supervisor restarts it
        finally:
            await self._shut_down(parts, stopped)

    async def _shut_down(self, parts: dict[str, "asyncio.Task[None]"], stopped: "asyncio.Task[bool]") -> None:
        await cancel_until_done([parts["connections"], parts["sweeper"], parts["heartbeat"], stopped])
        try:
            async with asyncio.timeout(self._timing.drain):
                await self._intake.drained()
        except TimeoutError:
            logger.exception("%d messages could not be stored. History has them.", self._intake.waiting)
        await cancel_until_done([parts["writer"]])
        self.status.set_disconnected(STOPPED, "the listener was stopped")
        await self._beat()
        await sync_to_async(db.connections.close_all)()

    # ---- connections

    async def _keep_connected(self) -> None:
        while True:
            pause = await self._run_connection()
            self.status.rebuilds += 1
            await asyncio.sleep(pause)

    async def _run_connection(self) -> float:
        """Listen over one connection until it must be replaced. Return the wait before the next one, in seconds."""
        connection: AblyConnection | None = None
        self.status.connection.update(CONNECTING, self.status.connection.problem)
        try:
            connection = AblyConnection(self._config, self._intake, self.status)
            reason = await self._listen(connection)
        except KeyRefused as refusal:
            self.status.set_disconnected(REFUSED, str(refusal), refused=True)
            await alert(
                "Ably refuses the key",
                f"Reason: {refusal}. No events are received. Set REALTIME_API_KEY to a key of the publisher's app with "
                "the capabilities `subscribe` and `history`. The key is retried every "
                f"{duration_text(self._timing.refused)}.",
            )
            return self._timing.refused
        except Exception as error:  # entry point of a connection: whatever fails, the next one is tried
            logger.exception("The connection failed with an unexpected error")
            reason = type(error).__name__
        finally:
            if connection is not None:
                await connection.close()
        self._failures += 1
        longest = min(self._timing.back_off_longest, self._timing.back_off_first * 2.0 ** min(self._failures, 10))
        pause = longest * SystemRandom().uniform(0.5, 1.0)
        self.status.set_disconnected(WAITING, reason)
        logger.error("Reconnecting in %.1f s: %s", pause, reason)
        return pause

    async def _listen(self, connection: AblyConnection) -> str:
        """Serve the enabled strategies over a connection. Return the reason why it must be replaced."""
        strategies = asyncio.create_task(self._follow_strategies(connection), name="strategies")
        healthy_since: float | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                verdict = await connection.watch_once()
                if verdict.rebuild:
                    return verdict.problem
                if strategies.done():
                    strategies.result()
                if not verdict.is_healthy:
                    healthy_since = None
                    continue
                healthy_since = healthy_since or loop.time()
                if loop.time() - healthy_since >= self._timing.unhealthy:
                    self._failures = 0
        finally:
            await cancel_until_done([strategies])

    async def _follow_strategies(self, connection: AblyConnection) -> None:
        while True:
            try:
                await connection.serve(await sync_to_async(offsets.update_channels)())
            except db.Error:
                logger.exception("The strategies cannot be read. The channels are unchanged.")
            await asyncio.sleep(self._timing.strategies)

    # ---- sweeper and heartbeat

    @staticmethod
    async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await do()
            await asyncio.sleep(seconds)

    async def _sweep(self) -> None:
        try:
            await sync_to_async(sweep)()
        except db.Error:
            logger.exception("The sweep failed. It will be repeated.")
            await sync_to_async(db.connections.close_all)()

    async def _beat(self) -> None:
        report = self.status.report(self._intake.waiting)
        await self._report_outage(report)
        try:
            await sync_to_async(record_heartbeat)(self.status.name, "listener", **report.model_dump(mode="json"))
        except db.Error:
            logger.exception("The heartbeat could not be written")
            await sync_to_async(db.connections.close_all)()

    async def _report_outage(self, report: ListenerReport) -> None:
        """Alert once when there has been no connection for long. A refused key has its own alert."""
        if report.problem_since is None:
            self._outage_reported = False
            return
        seconds = (timezone.now() - report.problem_since).total_seconds()
        if self._outage_reported or seconds < self._timing.suspended or report.state in {REFUSED, STOPPED}:
            return
        self._outage_reported = True
        await alert(
            "Ably cannot be reached",
            f"No events have been received since {new_york_time(report.problem_since)}: {report.problem}. "
            f"Check the network and the status page of {self._config.host}. The listener keeps trying.",
        )
