"""The process: links one after the other, for ever; the writer, the sweeper and the heartbeat beside them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import SystemRandom

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseTrouble
from django.db import connections
from django.utils import timezone

from trading.common.concurrency import cancel_until_done
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
    """Listens until it is told to stop."""

    def __init__(self, config: ListenerConfig) -> None:
        self._config = config
        self._timing = config.timing
        self.status = Status()
        self._intake = Intake(self.status, config.timing)
        self._failures = 0
        self._told_of_silence = False

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; then takes nothing more in, stores what it has, and closes."""
        parts = {
            name: asyncio.create_task(part, name=name)
            for name, part in (
                ("writer", self._intake.write()),
                ("links", self._link_after_link()),
                ("sweeper", self._every(self._timing.sweep, self._sweep)),
                ("heartbeat", self._every(self._timing.beat, self._beat)),
            )
        }
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stopped, *parts.values()}, return_when=asyncio.FIRST_COMPLETED)
            for part in done - {stopped}:
                part.result()  # no part ends by itself: whatever broke ends the process, for a supervisor to start it
        finally:
            await self._end(parts, stopped)

    async def _end(self, parts: dict[str, "asyncio.Task[None]"], stopped: "asyncio.Task[bool]") -> None:
        await cancel_until_done([parts["links"], parts["sweeper"], parts["heartbeat"], stopped])
        try:
            async with asyncio.timeout(self._timing.drain):
                await self._intake.drained()
        except TimeoutError:
            logger.exception("%d messages could not be stored; history has them", self._intake.waiting)
        await cancel_until_done([parts["writer"]])
        self.status.link_is_down(STOPPED, "it was told to stop")
        await self._beat()
        await sync_to_async(connections.close_all)()

    # ---- links

    async def _link_after_link(self) -> None:
        while True:
            pause = await self._one_link()
            self.status.rebuilds += 1
            await asyncio.sleep(pause)

    async def _one_link(self) -> float:
        """Listens over one link until it is no longer good.

        Returns:
            Seconds to wait before the next.
        """
        link: AblyConnection | None = None
        self.status.connection.is_now(CONNECTING, self.status.connection.problem)
        try:
            link = AblyConnection(self._config, self._intake, self.status)
            reason = await self._listen(link)
        except KeyRefused as refusal:
            self.status.link_is_down(REFUSED, str(refusal))
            await alert(
                "Ably refuses the key",
                f"{refusal}. No event is heard. Set REALTIME_API_KEY to a key of the publisher's app that may "
                f"`subscribe` and `history`; it is tried again every {self._timing.refused:.0f} seconds.",
            )
            return self._timing.refused
        except Exception as error:  # the door of a link: whatever broke it, the next one is tried
            logger.exception("The link broke")
            reason = f"{type(error).__name__}"
        finally:
            if link is not None:
                await link.close()
        self._failures += 1
        longest = min(self._timing.back_off_longest, self._timing.back_off_first * 2.0 ** min(self._failures, 10))
        pause = longest * SystemRandom().uniform(0.5, 1.0)
        self.status.link_is_down(WAITING, reason)
        logger.error("Listening anew in %.1f s: %s", pause, reason)
        return pause

    async def _listen(self, link: AblyConnection) -> str:
        """Serves the enabled strategies over a link.

        Returns:
            Why it has to be made anew.
        """
        strategies = asyncio.create_task(self._follow_strategies(link), name="strategies")
        well_since: float | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                verdict = await link.watch_once()
                if verdict.rebuild:
                    return verdict.problem
                if strategies.done():
                    strategies.result()
                if not verdict.is_healthy:
                    well_since = None
                    continue
                well_since = well_since or loop.time()
                if loop.time() - well_since >= self._timing.bad:
                    self._failures = 0
        finally:
            await cancel_until_done([strategies])

    async def _follow_strategies(self, link: AblyConnection) -> None:
        while True:
            try:
                names = await sync_to_async(offsets.enabled_strategies)()
                await sync_to_async(offsets.forget_all_but)(names)
                await link.serve(names)
            except DatabaseTrouble:
                logger.exception("The strategies cannot be read; the channels stay as they are")
            await asyncio.sleep(self._timing.strategies)

    # ---- beside them

    @staticmethod
    async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await do()
            await asyncio.sleep(seconds)

    async def _sweep(self) -> None:
        try:
            await sync_to_async(sweep)()
        except DatabaseTrouble:
            logger.exception("The sweep failed; the next one may not")
            await sync_to_async(connections.close_all)()

    async def _beat(self) -> None:
        report = self.status.report(self._intake.waiting)
        await self._tell_of_silence(report)
        try:
            await sync_to_async(record_heartbeat)(self.status.name, "listener", **report.model_dump(mode="json"))
        except DatabaseTrouble:
            logger.exception("The heartbeat could not be written")
            await sync_to_async(connections.close_all)()

    async def _tell_of_silence(self, report: ListenerReport) -> None:
        """Once, when nothing has been heard for long; a refused key has an alarm of its own."""
        if report.trouble_since is None:
            self._told_of_silence = False
            return
        deaf_for = (timezone.now() - report.trouble_since).total_seconds()
        if self._told_of_silence or deaf_for < self._timing.suspended or report.state in {REFUSED, STOPPED}:
            return
        self._told_of_silence = True
        await alert(
            "Ably cannot be reached",
            f"No event is heard since {report.trouble_since:%Y-%m-%d %H:%M} UTC: {report.problem}. "
            f"Look at the network and at the status of {self._config.host}; it is tried again all the time.",
        )
