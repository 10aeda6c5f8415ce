"""The door of a run: carries it out over the slot's link, and whatever happens to it is recorded and stays its own."""

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from brokers.exceptions import (
    AccountNotManaged,
    BrokerConnectionError,
    BrokerError,
    ClientIdInUse,
    WrongEnvironment,
)
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.common.log_context import log_context
from trading.engine.connection import SlotConnection
from trading.engine.rebalance import Rebalancer, SlotResources
from trading.error_codes import Stage
from trading.errors import AccountChanged, Deferred, LeaseLost, NeedsAttention, Refused, RunFailed
from trading.guards.account import check_guards, enforce
from trading.journal import leases, runs
from trading.journal.batch_writer import BatchWriter
from trading.journal.leases import Lease
from trading.journal.orders import OrderView
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar
from trading.models import RebalanceRun, RunState
from trading.models.run_documents import GuardResult
from trading.planning.run_context import RunContext, make_run_context

logger = logging.getLogger("rebalancer.trading")

ATTEMPTS = 3
BACK_OFF_SECONDS = 1.0
PATIENCE_SECONDS = 300
"""For so long a run that has sent orders, or whose client id is taken, waits for the broker; then a person looks."""


class RunSupervisor:
    """Carries out the runs of one lease."""

    def __init__(self, lease: Lease, link: SlotConnection, calendar: MarketCalendar) -> None:
        self._lease = lease
        self._scribe = BatchWriter(lease)
        self._calendar = calendar
        self._link = link
        self._places: asyncio.Semaphore | None = None
        self.broker_is_away = False

    async def carry_out(self, run: RebalanceRun) -> None:
        """Carries out one run and records how it ended.

        Raises:
            LeaseLost: another process has the slot.
            DatabaseError: nothing can be recorded now; the run is taken up again under a later lease.
        """
        journal = RunJournal(self._scribe, run.pk)
        with log_context(run.account.account_id, run.strategy_name, run.run_id):
            logger.info("%s %s started", run.get_mode_display(), run.run_id)
            reached(FailPoint.RUN_STARTED, run.account.account_id)
            try:
                await self._attempts(run, journal)
            except (LeaseLost, OperationalError, InterfaceError):
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
                    "Unexpected error; see the log.",
                )

    async def _attempts(self, run: RebalanceRun, journal: RunJournal) -> None:
        """Carries the run out; plans again where that is safe, and connects again where the link broke."""
        context = await sync_to_async(make_run_context)(run)
        if self._places is None:
            self._places = asyncio.Semaphore(context.policy.max_concurrent_accounts)
        async with self._places:
            await self._attempts_of(context, run, journal)

    async def _attempts_of(self, context: RunContext, run: RebalanceRun, journal: RunJournal) -> None:
        await journal.record(policy=context.policy.model_dump(mode="json"))
        if context.executes:
            await self._refuse_before_connecting(context)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                link, before = await self._link_and_beforehand(context, run.event_id, journal)
                await Rebalancer(context, link, journal, self._calendar, before).carry_out()
            except AccountChanged as change:
                await journal.add_timeline_entry("account_changed", f"{change.message} Planning again.", "warning")
                self._link.forget_quotes(run.event_id)
            except ClientIdInUse as taken:
                await self._wait_for_client_id(journal, taken)
                return
            except BrokerConnectionError as trouble:
                await self._link.drop()
                self._link.forget_quotes(run.event_id)  # of a link that holds they may be what failed
                if attempt == ATTEMPTS or isinstance(trouble, (AccountNotManaged, WrongEnvironment)):
                    raise  # the latter two do not pass by themselves
                await journal.add_timeline_entry("connection_lost", f"{trouble.message} Connecting again.", "warning")
                await asyncio.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
            else:
                return
        raise RunFailed(
            "account_changed", "The account kept changing while it was planned. No order of this run is open."
        )

    async def _link_and_beforehand(
        self, context: RunContext, event_id: int, journal: RunJournal
    ) -> tuple[SlotResources, PriorState]:
        """The open link; what needs no link is asked for while it is being opened."""
        return await run_concurrently(self._link.ready(context, event_id), self._meanwhile(context, event_id, journal))

    async def _meanwhile(self, context: RunContext, event_id: int, journal: RunJournal) -> PriorState:
        if context.strategy is not None:
            self._link.targets(context, event_id).ask_for(context.strategy)
        return await journal.read_prior_state(context.account_pk)

    async def _refuse_before_connecting(self, context: RunContext) -> None:
        """What can be said without the broker is said at once, also while the broker is away."""
        results = await sync_to_async(self._guards_before_connecting)(context)
        enforce([result for result in results if result.guard.stage is Stage.DATABASE], context.source)

    def _guards_before_connecting(self, context: RunContext) -> list[GuardResult]:
        if runs.has_sent_orders(context.pk):
            return []  # what was sent has to be settled first, whatever the guards say
        return check_guards(context.account_pk, context.pk, context.policy, timezone.now(), self._calendar)

    async def _wait_for_client_id(self, journal: RunJournal, taken: ClientIdInUse) -> None:
        """Lets go and comes back later with the same client id, for only it sees the slot's open orders."""
        self.broker_is_away = True
        seconds = await sync_to_async(leases.record_client_id_in_use)(self._lease, in_use=True)
        if seconds > PATIENCE_SECONDS:
            raise NeedsAttention("client_id_in_use", f"{taken.message} It has been so for {seconds:.0f} seconds.")
        await journal.release()
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
        """A run that has sent orders is never left half done for a broker that is away for a moment: it waits."""
        if not any(order.submitted_at for order in await journal.orders()):
            await self._fail(journal, trouble.code, trouble.message)
            return
        self.broker_is_away = True
        seconds = await journal.release()
        if seconds > PATIENCE_SECONDS:
            message = f"{trouble.message} Orders of this run were sent, and the broker is away for {seconds:.0f} s."
            await self._end(journal, RunState.NEEDS_ATTENTION, trouble.code, message)
            return
        await journal.add_timeline_entry(
            "connection_lost", f"{trouble.message} Orders were sent before: the run is taken up again.", "error"
        )

    @staticmethod
    async def _in_the_air(journal: RunJournal) -> list[OrderView]:
        return [order for order in await journal.orders() if order.submitted_at and not order.is_resolved]

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
