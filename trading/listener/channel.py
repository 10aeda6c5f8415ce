"""One channel over one connection: keep it attached and caught up, and detect that it receives no messages."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from random import SystemRandom

from ably import AblyException, AblyRealtime
from ably.realtime.channel import RealtimeChannel
from ably.types.channelmode import ChannelMode
from ably.types.channelstate import ChannelState, ChannelStateChange
from ably.types.message import Message
from django import db
from django.utils import timezone

from trading.common.concurrency import cancel_until_done
from trading.common.formats import ZONE, duration_text, instant_text
from trading.listener.alerts import alert
from trading.listener.catch_up import CatchUp, CaughtUp, missed_messages
from trading.listener.clients import describe, refuses_key
from trading.listener.config import Timing
from trading.listener.history import History, HistoryRefused, HistoryUnavailable
from trading.listener.intake import Intake
from trading.listener.offsets import Gap
from trading.listener.status import ATTACHED, DENIED, PUBLISH_ONLY, ChannelStatus

logger = logging.getLogger("rebalancer.trading")

MAX_RECENT_IDS = 5000
"""Number of live message ids that are compared with history."""


class ChannelListener:
    """Receives the messages of one channel."""

    def __init__(
        self,
        name: str,
        *,
        realtime: AblyRealtime,
        history: History,
        intake: Intake,
        status: ChannelStatus,
        timing: Timing,
        on_stale: Callable[[str], None],
    ) -> None:
        self.name = name
        self.status = status
        self._channel: RealtimeChannel = realtime.channels.get(name)
        self._history = history
        self._intake = intake
        self._timing = timing
        self._on_stale = on_stale
        self._catch_up = CatchUp(name, history, intake, timing, self._report_gap)
        self._recent_ids: deque[str] = deque(maxlen=MAX_RECENT_IDS)
        self._attached_at: datetime | None = None
        self._catch_up_due = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._subscribed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start to attach and to catch up."""
        self._tasks = [
            asyncio.create_task(self._stay_attached(), name=f"attach {self.name}"),
            asyncio.create_task(self._stay_caught_up(), name=f"catch up {self.name}"),
        ]

    async def stop(self, *, detach: bool = False) -> None:
        """End the tasks; `detach` if the connection stays open and only this channel is released."""
        await cancel_until_done(self._tasks)
        if detach:
            await self._detach()

    @property
    def is_attached(self) -> bool:
        """Whether the service reports that this channel receives messages."""
        return self._channel.state == ChannelState.ATTACHED and ChannelMode.SUBSCRIBE in self._channel.modes

    @property
    def is_refused(self) -> bool:
        """Whether the key has no access to the channel; new clients would not change that."""
        return self.status.subscription.state in {DENIED, PUBLISH_ONLY}

    # ---- SDK callbacks: these only record

    def _on_message(self, message: Message) -> None:
        self._recent_ids.append(message.id)
        self._intake.receive(self.name, message)

    def _on_attached(self, change: ChannelStateChange) -> None:
        self._attached_at = timezone.now()
        self._catch_up_due.set()
        self._state_changed.set()

    def _on_other_state(self, change: ChannelStateChange) -> None:
        if change.current != ChannelState.ATTACHED:
            self._attached_at = None
            self._state_changed.set()

    # ---- attach

    async def _stay_attached(self) -> None:
        self._channel.on("attached", self._on_attached)
        self._channel.on("update", self._on_attached)
        for state in (ChannelState.SUSPENDED, ChannelState.DETACHED, ChannelState.FAILED, ChannelState.ATTACHING):
            self._channel.on(state, self._on_other_state)
        try:
            await self._catch_up.start()
        except (HistoryUnavailable, db.Error) as error:
            logger.warning("The first offset of %s could not be stored yet: %s", self.name, error)
        while True:
            self._state_changed.clear()
            refusal = await self._attach()
            if refusal:
                await alert(
                    f"Ably refuses the channel {self.name}",
                    f"Reason: {refusal}. Give the key the capabilities `subscribe` and `history` for this channel, or "
                    "disable the strategy. Other channels continue. This one is retried every "
                    f"{duration_text(self._timing.refused)}.",
                )
                await asyncio.sleep(self._timing.refused)
                await self._detach()
            elif self.is_attached:
                await self._state_changed.wait()
            else:
                await asyncio.sleep(self._timing.client_retry)

    async def _attach(self) -> str:
        """Attach if necessary, and update the status. Return the reason if the service refuses."""
        problem = ""
        subscription = self.status.subscription
        try:
            async with asyncio.timeout(self._timing.request):
                if self._subscribed:
                    await self._channel.attach()
                else:
                    self._subscribed = True  # the SDK registers the callback before a wait that may never end
                    await self._channel.subscribe(self._on_message)
        except TimeoutError:
            problem = "attach timed out"
        except AblyException as error:
            problem = describe(error)
            if refuses_key(error) and self._channel.state == ChannelState.FAILED:
                subscription.update(DENIED, problem, refused=True)
                return problem
        except TypeError:  # the SDK raises it if the service gave no reason
            problem = "the service gave no reason"
        if self.is_attached:
            subscription.update(ATTACHED, healthy=True)
        elif self._channel.state == ChannelState.ATTACHED:
            subscription.update(PUBLISH_ONLY, refused=True)
            return "the key may publish on the channel but not subscribe to it"
        else:
            subscription.update(str(self._channel.state.value), problem)
        return ""

    async def _detach(self) -> None:
        """Detach, so that the next attach sends a new request."""
        try:
            async with asyncio.timeout(self._timing.request):
                await self._channel.detach()
        except (TimeoutError, AblyException) as error:
            logger.debug("Channel %s was not detached: %s", self.name, describe(error))

    # ---- catch up

    async def _stay_caught_up(self) -> None:
        pause = 0.0  # the first time immediately, whether the channel can be attached or not
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._catch_up_due.wait()
            self._catch_up_due.clear()
            pause = await self._read_history()

    async def _read_history(self) -> float:
        """Catch up, check whether the channel missed a message, and return the seconds until the next catch-up."""
        attached_at = self._attached_at
        try:
            caught_up = await self._catch_up.run()
        except HistoryRefused as refusal:
            self.status.history.update("refused", str(refusal), refused=True)
            await alert(
                f"Ably refuses the history of {self.name}",
                f"Reason: {refusal}. Give the key the capability `history`. Without it, missed messages are not found.",
            )
            return self._timing.reconcile
        except (HistoryUnavailable, db.Error) as error:
            self.status.history.update("unavailable", str(error))
            logger.warning("Channel %s could not catch up: %s", self.name, error)
            return self._timing.history_retry
        self.status.history.update("available", healthy=True)
        self.status.last_catch_up_at = timezone.now()
        await self._check_missed(caught_up, attached_at)
        return self._timing.reconcile * SystemRandom().uniform(0.8, 1.0)

    async def _report_gap(self, gap: Gap) -> None:
        self.status.gap = str(gap)
        await alert(
            f"Messages of {self.name} after {instant_text(gap.since)} {ZONE} may be lost",
            f"No listener was running from {gap}, and the history of the channel may not reach that far back. "
            "Compare the events with the publisher's, and publish missing messages again. Enable persistence of the "
            "channel in Ably.",
        )

    async def _check_missed(self, caught_up: CaughtUp, attached_at: datetime | None) -> None:
        """Report a stale connection if history had messages that should have been received live."""
        if caught_up.new:
            logger.info("History of %s had %d messages that were not stored", self.name, len(caught_up.new))
        if attached_at is None or attached_at != self._attached_at:
            return
        since = attached_at + (await self._history.clock()).latest
        missed = missed_messages(caught_up, self._recent_ids, since, timedelta(seconds=self._timing.grace))
        if missed:
            self._on_stale(f"{self.name}: history has {len(missed)} messages that were not received live")
