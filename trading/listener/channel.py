"""One channel over one link: kept attached, kept caught up, and found out when it is deaf."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom

from ably import AblyException, AblyRealtime
from ably.realtime.channel import RealtimeChannel
from ably.types.channelmode import ChannelMode
from ably.types.channelstate import ChannelState, ChannelStateChange
from ably.types.message import Message
from django.db import Error as DatabaseTrouble
from django.utils import timezone

from trading.common.concurrency import cancel_until_done
from trading.listener.alerts import alert
from trading.listener.catch_up import CatchUp, CaughtUp, missed
from trading.listener.clients import refuses_key, words
from trading.listener.config import Timing
from trading.listener.history import History, HistoryRefused, HistoryUnavailable
from trading.listener.intake import Intake
from trading.listener.offsets import Gap
from trading.listener.status import ChannelStatus

logger = logging.getLogger("rebalancer.trading")

REMEMBERED = 5000
DENIED = "denied"
PUBLISH_ONLY = "attached, but the key may not subscribe"


class ChannelListener:
    """Listens to one channel."""

    def __init__(
        self,
        name: str,
        *,
        realtime: AblyRealtime,
        history: History,
        intake: Intake,
        status: ChannelStatus,
        timing: Timing,
        on_deaf: Callable[[str], None],
    ) -> None:
        self.name = name
        self.status = status
        self._channel: RealtimeChannel = realtime.channels.get(name)
        self._history = history
        self._intake = intake
        self._timing = timing
        self._on_deaf = on_deaf
        self._catch_up = CatchUp(name, history, intake, timing, self._tell_of_gap)
        self._heard: deque[str] = deque(maxlen=REMEMBERED)
        self._attached_at: datetime | None = None
        self._behind = asyncio.Event()
        self._changed = asyncio.Event()
        self._subscribed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to listen."""
        self._tasks = [
            asyncio.create_task(self._stay_attached(), name=f"attach {self.name}"),
            asyncio.create_task(self._stay_caught_up(), name=f"catch up {self.name}"),
        ]

    async def stop(self, *, detach: bool = False) -> None:
        """Ends the tasks; `detach` when the link stays and only this channel is given up."""
        await cancel_until_done(self._tasks)
        if detach:
            await self._detach()

    @property
    def is_attached(self) -> bool:
        """Whether the service says that messages come."""
        return self._channel.state == ChannelState.ATTACHED and ChannelMode.SUBSCRIBE in self._channel.modes

    @property
    def is_refused(self) -> bool:
        """Whether the key has no right to it; new clients would not change that."""
        return self.status.listener_health.state in {DENIED, PUBLISH_ONLY}

    # ---- called back by the SDK: these only note

    def _on_message(self, message: Message) -> None:
        self._heard.append(message.id)
        self._intake.hear(self.name, message)

    def _on_attached(self, change: ChannelStateChange) -> None:
        self._attached_at = timezone.now()
        self._behind.set()
        self._changed.set()

    def _on_other_state(self, change: ChannelStateChange) -> None:
        if change.current != ChannelState.ATTACHED:
            self._attached_at = None
            self._changed.set()

    # ---- attached

    async def _stay_attached(self) -> None:
        self._channel.on("attached", self._on_attached)
        self._channel.on("update", self._on_attached)
        for state in (ChannelState.SUSPENDED, ChannelState.DETACHED, ChannelState.FAILED, ChannelState.ATTACHING):
            self._channel.on(state, self._on_other_state)
        await self._note_beginning()
        while True:
            self._changed.clear()
            refusal = await self._attach()
            if refusal:
                await self._refused(refusal)
                await asyncio.sleep(self._timing.refused)
                await self._detach()
            elif self.is_attached:
                await self._changed.wait()
            else:
                await asyncio.sleep(self._timing.client_retry)

    async def _note_beginning(self) -> None:
        try:
            await self._catch_up.begin()
        except (HistoryUnavailable, DatabaseTrouble) as trouble:
            logger.warning("The head of %s could not be noted yet: %s", self.name, trouble)

    async def _attach(self) -> str:
        """Attaches if need be, and notes how it stands.

        Returns:
            Why the service refuses; empty when it does not.
        """
        problem = ""
        try:
            async with asyncio.timeout(self._timing.request):
                if self._subscribed:
                    await self._channel.attach()
                else:
                    self._subscribed = True  # it is registered before the wait that may never end
                    await self._channel.subscribe(self._on_message)
        except TimeoutError:
            problem = "attaching takes too long"
        except AblyException as error:
            if refuses_key(error) and self._channel.state == ChannelState.FAILED:
                self.status.listener_health.is_now(DENIED, words(error))
                return words(error)
            problem = words(error)
        except TypeError:  # what the SDK raises where the service gave no reason
            problem = "the service gave no reason"
        if self.is_attached:
            self.status.listener_health.is_now("attached", well=True)
        elif self._channel.state == ChannelState.ATTACHED:
            self.status.listener_health.is_now(PUBLISH_ONLY)
            return "the key may publish on it and not subscribe to it"
        else:
            self.status.listener_health.is_now(str(self._channel.state.value), problem)
        return ""

    async def _refused(self, reason: str) -> None:
        await alert(
            f"Ably refuses the channel {self.name}",
            f"{reason}. Give the key the capabilities `subscribe` and `history` for this channel, or disable the "
            f"strategy. The other channels go on; this one is tried again every {self._timing.refused:.0f} seconds.",
        )

    async def _detach(self) -> None:
        """So that the next attach asks anew."""
        try:
            async with asyncio.timeout(self._timing.request):
                await self._channel.detach()
        except (TimeoutError, AblyException) as trouble:
            logger.debug("Channel %s was not detached: %s", self.name, words(trouble))

    # ---- caught up

    async def _stay_caught_up(self) -> None:
        pause = 0.0  # at once, whether the channel can be attached or not
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._behind.wait()
            except TimeoutError:
                pass
            self._behind.clear()
            pause = await self._read_history()

    async def _read_history(self) -> float:
        """Catches up and judges what that shows.

        Returns:
            Seconds until the next time.
        """
        attached_at = self._attached_at
        try:
            caught_up = await self._catch_up.run()
        except HistoryRefused as refusal:
            self.status.history_is(str(refusal))
            await alert(
                f"Ably refuses the history of {self.name}",
                f"{refusal}. Give the key the capability `history`: without it nothing that is missed can be found.",
            )
            return self._timing.reconcile
        except (HistoryUnavailable, DatabaseTrouble) as trouble:
            self.status.history_is(str(trouble))
            logger.warning("Channel %s could not catch up: %s", self.name, trouble)
            return self._timing.history_retry
        self.status.history_is("")
        self.status.last_catch_up_at = timezone.now()
        await self._judge(caught_up, attached_at)
        return self._timing.reconcile * SystemRandom().uniform(0.8, 1.0)

    async def _tell_of_gap(self, gap: Gap) -> None:
        self.status.maybe_lost = str(gap)
        await alert(
            f"Messages of {self.name} after {gap.since:%Y-%m-%d %H:%M:%S} UTC may be lost",
            f"Nobody listened from {gap}, and the history of the channel is not known to reach so far back. "
            "What was published then and is not among the events has to be published again. Switch on persistence "
            "of the channel in Ably.",
        )

    async def _judge(self, caught_up: CaughtUp, attached_at: datetime | None) -> None:
        if caught_up.new:
            logger.info("History of %s had %d messages that were not stored", self.name, len(caught_up.new))
        if attached_at is None or attached_at != self._attached_at:
            return
        since = attached_at + (await self._history.now() - timezone.now())
        unheard = missed(caught_up, self._heard, since, timedelta(seconds=self._timing.grace))
        if unheard:
            self._on_deaf(f"{self.name}: history has {len(unheard)} messages that were not heard")
