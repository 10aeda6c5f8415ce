"""Works a connection slot: one lease, one link, all its queued runs at once, until nothing is left to do."""

import asyncio
import logging
import os
import socket
import uuid
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections
from django.utils import timezone

from brokers.exceptions import BrokerConnectionError, BrokerError, ClientIdInUse
from trading.broker_link import BrokerLink
from trading.errors import Deferred, LeaseLost, NeedsAttention, PlanAnew, Refused, RunFailed
from trading.guards import check_guards, enforce, read_context
from trading.journal import leases, runs
from trading.journal.leases import Lease
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.log_context import log_context
from trading.market_calendar import MarketCalendar, market_calendar
from trading.models import RebalanceRun, RunState
from trading.rebalance import Rebalancer
from trading.run_ticket import RunTicket, make_ticket
from trading.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")

TAKE_UP_SECONDS = 60.0
"""For so long a worker takes up new runs; then it leaves them to the next wake-up, to end within its task's time."""
LOOK_AGAIN_SECONDS = 1.0
ATTEMPTS = 3
BACK_OFF_SECONDS = 1.0
CLIENT_ID_PATIENCE_SECONDS = 300


def work_slot(connection_id: int) -> bool:
    """Carries out what waits for the slot, unless another process is doing so.

    Returns:
        Whether this process had the lease at all.
    """
    return asyncio.run(_work_slot(connection_id))


async def _work_slot(connection_id: int) -> bool:
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    had_it = False
    until = asyncio.get_running_loop().time() + TAKE_UP_SECONDS
    try:
        while True:
            lease = await sync_to_async(leases.claim_lease)(connection_id, owner)
            if lease is None:
                return had_it
            had_it = True
            worker = SlotWorker(lease, market_calendar(), until)
            try:
                await worker.work()
            finally:
                with suppress(DatabaseError):
                    await sync_to_async(leases.release_lease)(lease)
            # A run that was queued between our last look and the release found the lease taken.
            if not worker.may_go_on or not await sync_to_async(runs.has_ready_runs)(connection_id):
                return True
            if asyncio.get_running_loop().time() > until:
                await sync_to_async(wake_slot)(connection_id)
                return True
    except LeaseLost:
        logger.warning("Slot %s: another process has taken over", connection_id)
        return had_it
    finally:
        await sync_to_async(connections.close_all)()


class SlotWorker:
    """Everything that happens under one lease."""

    def __init__(self, lease: Lease, calendar: MarketCalendar, take_up_until: float) -> None:
        self._lease = lease
        self._calendar = calendar
        self._take_up_until = take_up_until
        self._link = BrokerLink(lease)
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: asyncio.Semaphore | None = None
        self.may_go_on = True

    async def work(self) -> None:
        """Takes up runs and carries them out, concurrently, until none is left.

        Raises:
            LeaseLost: another process goes on; nothing more was done after that was known.
        """
        heartbeat = asyncio.create_task(self._keep_lease(), name="lease")
        loop = asyncio.get_running_loop()
        try:
            while True:
                if loop.time() < self._take_up_until:
                    for run in await sync_to_async(runs.claim_runs)(self._lease):
                        self._tasks.add(asyncio.create_task(self._carry_out(run), name=f"run {run.run_id}"))
                if not self._tasks:
                    return
                done, _ = await asyncio.wait(
                    {*self._tasks, heartbeat}, timeout=LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                self._tasks -= done
                for task in done:
                    task.result()  # raises LeaseLost, and whatever no run could record
        finally:
            for task in (*self._tasks, heartbeat):
                task.cancel()
            await asyncio.gather(*self._tasks, heartbeat, return_exceptions=True)
            await self._link.close()

    async def _keep_lease(self) -> None:
        """Renews the lease; a database that is away for longer than it lives loses it."""
        loop = asyncio.get_running_loop()
        good_until = loop.time() + settings.LEASE_TTL_SECONDS
        while True:
            await asyncio.sleep(settings.LEASE_TTL_SECONDS / 4)
            try:
                await sync_to_async(leases.renew_lease)(self._lease)
                good_until = loop.time() + settings.LEASE_TTL_SECONDS
            except DatabaseError:
                logger.exception("The lease of slot %s could not be renewed", self._lease.connection_id)
                if loop.time() > good_until:
                    raise LeaseLost from None

    async def _carry_out(self, run: RebalanceRun) -> None:
        """The door of a run: whatever happens to it is recorded, and stays its own."""
        journal = RunJournal(self._lease, run.pk)
        with log_context(run.account.account_id, run.strategy_name):
            logger.info("%s %s started", run.get_mode_display(), run.run_id)
            try:
                await self._attempts(run, journal)
            except LeaseLost:
                raise
            except Refused as refusal:
                await self._refuse(journal, refusal)
            except NeedsAttention as trouble:
                await self._end(journal, RunState.NEEDS_ATTENTION, trouble.code, trouble.message)
            except BrokerConnectionError as trouble:
                await self._come_back_or_fail(journal, trouble)
            except (RunFailed, BrokerError) as failure:
                await self._fail(journal, failure.code, failure.message)
            except Exception:  # the door of the run: recorded, and the other accounts go on
                logger.exception("Run %s broke", run.run_id)
                await self._fail(
                    journal,
                    "internal_error",
                    "Something went wrong that nobody foresaw; the log has the details.",
                )

    async def _attempts(self, run: RebalanceRun, journal: RunJournal) -> None:
        """Carries the run out; plans again where that is safe, and connects again where the link broke."""
        ticket = await sync_to_async(make_ticket)(run)
        if self._places is None:
            self._places = asyncio.Semaphore(ticket.policy.max_concurrent_accounts)
        async with self._places:
            await self._attempts_of(ticket, run, journal)

    async def _attempts_of(self, ticket: RunTicket, run: RebalanceRun, journal: RunJournal) -> None:
        await journal.record(policy=ticket.policy.model_dump(mode="json"))
        if ticket.executes:
            await self._refuse_before_connecting(ticket)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                link = await self._link.ready(ticket, run.event_id)
                await Rebalancer(ticket, link, journal, self._calendar).carry_out()
            except PlanAnew as change:
                await journal.tell("plan_anew", f"{change.message} Planning again.", "warning")
                self._link.forget_quotes(run.event_id)
            except ClientIdInUse as taken:
                await self._wait_for_client_id(taken)
                return
            except BrokerConnectionError as trouble:
                await self._link.drop()
                if attempt == ATTEMPTS:
                    raise
                await journal.tell("connection_lost", f"{trouble.message} Connecting again.", "warning")
                await asyncio.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
            else:
                return
        raise RunFailed("plan_anew", "The account kept changing while it was planned. Nothing is left open.")

    async def _refuse_before_connecting(self, ticket: RunTicket) -> None:
        """What can be said without the broker is said at once, also while the broker is away."""
        if await sync_to_async(runs.has_sent_orders)(ticket.pk):
            return  # what was sent has to be settled first, whatever the guards say
        context = await sync_to_async(read_context)(
            ticket.account_pk, ticket.pk, ticket.policy, timezone.now(), self._calendar
        )
        enforce(await sync_to_async(check_guards)(context), ticket.source)

    async def _wait_for_client_id(self, taken: ClientIdInUse) -> None:
        """Lets go and comes back later with the same client id, for only it sees the slot's open orders."""
        seconds = await sync_to_async(leases.note_client_id_in_use)(self._lease.connection_id, in_use=True)
        self.may_go_on = False
        if seconds > CLIENT_ID_PATIENCE_SECONDS:
            raise NeedsAttention("client_id_in_use", f"{taken.message} It has been so for {seconds:.0f} seconds.")
        logger.warning("Slot %s: %s Coming back later.", self._lease.connection_id, taken.message)

    async def _refuse(self, journal: RunJournal, refusal: Refused) -> None:
        """Refused or put aside, if nothing was sent; a run that was cut in half is for a person to judge."""
        if any(order.submitted_at for order in await journal.orders()):
            message = f"{refusal.message} Some orders of this run had been sent before. Preview the account anew."
            await self._end(journal, RunState.NEEDS_ATTENTION, refusal.code, message)
        elif isinstance(refusal, Deferred):
            logger.warning("Run deferred: %s", refusal.message)
            await journal.defer(refusal.code, refusal.message, refusal.not_before)
        else:
            await self._end(journal, RunState.REFUSED, refusal.code, refusal.message)

    async def _come_back_or_fail(self, journal: RunJournal, trouble: BrokerConnectionError) -> None:
        """A run with orders in the air is left running: the sweeper wakes it until the broker is back."""
        if not await self._in_the_air(journal):
            await self._fail(journal, trouble.code, trouble.message)
            return
        self.may_go_on = False
        await journal.tell(
            "connection_lost", f"{trouble.message} Orders are in the air: the run is taken up again.", "error"
        )

    @staticmethod
    async def _in_the_air(journal: RunJournal) -> list[OrderView]:
        return [order for order in await journal.orders() if order.submitted_at and not order.is_settled]

    async def _fail(self, journal: RunJournal, code: str, message: str) -> None:
        """Failed, if nothing of the run may be alive at the broker; else a person has to look."""
        if unsettled := await self._in_the_air(journal):
            symbols = ", ".join(order.symbol for order in unsettled)
            message = f"{message} The fate of these orders is not known: {symbols}."
        await self._end(journal, RunState.NEEDS_ATTENTION if unsettled else RunState.FAILED, code, message)

    @staticmethod
    async def _end(journal: RunJournal, state: RunState, code: str, message: str) -> None:
        logger.warning("Run %s: %s", state, message)
        await journal.end(state, code=code, message=message)
