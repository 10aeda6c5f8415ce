"""Execute one run: retry where that is safe, record its outcome, and keep its errors from the other runs."""

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.policies import resolve_policy
from brokers.exceptions import AccountNotManaged, BrokerConnectionError, BrokerError, ClientIdInUse, WrongEnvironment
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.common.formats import duration_text
from trading.common.log_context import log_context
from trading.common.timings import Timings
from trading.engine.cancel_watch import CancelWatch
from trading.engine.connection import SlotConnection
from trading.engine.rebalance import Rebalancer
from trading.error_codes import GUARDS, OnFail, Stage
from trading.errors import DATABASE_ERRORS, AccountChanged, Deferred, LeaseLost, NeedsAttention, Refused, RunFailed
from trading.guards.account import check_guards
from trading.guards.may_trade import enforce, refuse_changed_approval
from trading.journal import leases
from trading.journal.batch_writer import BatchWriter
from trading.journal.leases import Lease
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar
from trading.models import RebalanceRun, RunState
from trading.planning.run_context import RunContext, make_run_context

logger = logging.getLogger("rebalancer.trading")

ATTEMPTS = 3
STOPPING = frozenset({"run_stopped", "trading_paused"})
"""Codes of guards by which a user stops a run on purpose: what is left to do is known, and a new run can do it."""


class RunSupervisor:
    """Executes the runs of one lease."""

    def __init__(
        self,
        lease: Lease,
        connection: SlotConnection,
        calendar: MarketCalendar,
        timings: Timings,
        cancel_watch: CancelWatch,
    ) -> None:
        self._lease = lease
        self._writer = BatchWriter(lease)
        self._calendar = calendar
        self._connection = connection
        self._timings = timings
        self._cancel_watch = cancel_watch
        self._places: asyncio.Semaphore | None = None
        self.broker_is_unreachable = False

    async def execute(self, run: RebalanceRun) -> None:
        """Execute one run and record its outcome.

        Raises:
            LeaseLost: another process has the slot.
            DatabaseError: nothing can be recorded now; the run is resumed under a later lease.
        """
        journal = RunJournal(self._writer, run.pk)
        with log_context(run.account.account_id, run.strategy_name, run.run_id):
            logger.info("%s %s started", run.get_mode_display(), run.run_id)
            reached(FailPoint.RUN_STARTED, run.account.account_id)
            try:
                async with await self._place_for(run):
                    await self._execute(run, journal)
            except (LeaseLost, *DATABASE_ERRORS):
                raise
            except Refused as refusal:
                await self._refuse_or_defer(journal, refusal)
            except NeedsAttention as error:
                await self._end(journal, RunState.NEEDS_ATTENTION, error.code, error.message)
            except BrokerConnectionError as error:
                await self._retry_or_fail(journal, error)
            except (RunFailed, BrokerError) as error:
                await self._fail(journal, error.code, error.message)
            except Exception:  # recorded, so that the other accounts' runs continue
                logger.exception("Run %s failed with an unexpected error", run.run_id)
                await self._fail(journal, "internal_error", "Unexpected error; see the log.")

    async def _place_for(self, run: RebalanceRun) -> asyncio.Semaphore:
        """Return what limits the accounts of the slot that are rebalanced at the same time."""
        if self._places is None:
            most = (await sync_to_async(resolve_policy)(run.account)).max_concurrent_accounts
            self._places = self._places or asyncio.Semaphore(most)  # another run may have been faster
        return self._places

    async def _execute(self, run: RebalanceRun, journal: RunJournal) -> None:
        """Execute the run. Plan again if the account has changed, and reconnect if the connection is lost."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._attempt(await self._read_settings(run, journal), run.event_id, journal)
            except AccountChanged as change:
                await journal.add_timeline_entry("account_changed", f"{change.message} Planning again.", "warning")
                self._connection.discard_quotes(run.event_id)
            except ClientIdInUse as error:
                await self._wait_for_client_id(journal, error)
                return
            except BrokerConnectionError as error:
                await self._connection.close_if_broken()
                self._connection.discard_quotes(run.event_id)  # the connection may work, and only the quotes failed
                if attempt == ATTEMPTS or isinstance(error, (AccountNotManaged, WrongEnvironment)):
                    raise  # a reconnection cannot fix the latter two
                await journal.add_timeline_entry("connection_lost", f"{error.message} Reconnecting.", "warning")
                await asyncio.sleep(self._timings.reconnect_delay_seconds * 2 ** (attempt - 1))
            else:
                return
        raise RunFailed(
            "account_changed", "The account changed in every attempt to plan. No order of this run is open."
        )

    async def _read_settings(self, run: RebalanceRun, journal: RunJournal) -> RunContext:
        """Read the settings for an attempt and store them. They are frozen from the first order of the run on."""
        context = await sync_to_async(make_run_context)(run)
        if context.changes:
            changes = "; ".join(context.changes)
            await journal.add_timeline_entry(
                "policy_changed", f"Settings have changed since the last attempt: {changes}.", "warning"
            )
        stored = context.basis.as_stored()
        await journal.record(**stored)
        run.policy, run.basis = stored["policy"], stored["basis"]  # what the next attempt compares with
        if context.executes and not context.has_sent:  # orders that were sent are resolved first, whatever has changed
            await self._refuse_before_connecting(context)
            refuse_changed_approval(context.approval_changes)
        return context

    async def _attempt(self, context: RunContext, event_id: int, journal: RunJournal) -> None:
        resources, prior = await run_concurrently(
            self._connection.acquire(context, event_id), self._read_meanwhile(context, event_id, journal)
        )
        with self._cancel_watch.watch(context.pk) as cancel_requested:
            await Rebalancer(context, resources, journal, self._calendar, prior, self._timings, cancel_requested).run()

    async def _read_meanwhile(self, context: RunContext, event_id: int, journal: RunJournal) -> PriorState:
        """Request the targets and read the prior state while the connection is opened."""
        if context.strategy is not None:
            self._connection.targets(context, event_id).prefetch(context.strategy)
        return await journal.read_prior_state(context.account_pk)

    async def _refuse_before_connecting(self, context: RunContext) -> None:
        """Enforce the guards that need no broker, so that they refuse a run also while the broker is unreachable."""
        results = await sync_to_async(check_guards)(
            context.account_pk, context.pk, context.policy, timezone.now(), self._calendar
        )
        enforce([result for result in results if result.guard.stage is Stage.DATABASE], context.source)

    async def _wait_for_client_id(self, journal: RunJournal, error: ClientIdInUse) -> None:
        """Release the run and retry later with the same client id: only that id sees the slot's open orders."""
        self.broker_is_unreachable = True
        seconds = await sync_to_async(leases.record_client_id_in_use)(self._lease, in_use=True)
        if seconds > self._timings.broker_wait_seconds:
            raise NeedsAttention(
                "client_id_in_use", f"{error.message} It has been in use for {duration_text(seconds)}."
            )
        await journal.release()
        logger.warning("Slot %s: %s Retrying later.", self._lease.connection_id, error.message)

    async def _refuse_or_defer(self, journal: RunJournal, refusal: Refused) -> None:
        """Refuse or defer a run that has sent nothing. A user decides about one that was interrupted half-way."""
        sent = [order for order in await journal.orders() if order.submitted_at]
        if sent:
            message = f"{refusal.message} Some orders of this run were already sent. Preview the account again."
            is_stopped = refusal.code in STOPPING and all(order.is_resolved for order in sent)
            state = RunState.STOPPED if is_stopped else RunState.NEEDS_ATTENTION
            await self._end(journal, state, refusal.code, message)
        elif refusal.code in GUARDS and GUARDS[refusal.code].on_fail is OnFail.STOP:
            await self._end(journal, RunState.STOPPED, refusal.code, f"{refusal.message} No order was sent.")
        elif isinstance(refusal, Deferred):
            logger.warning("Run deferred: %s", refusal.message)
            await journal.defer(refusal.code, refusal.message, refusal.not_before)
        else:
            await self._end(journal, RunState.REFUSED, refusal.code, refusal.message)

    async def _retry_or_fail(self, journal: RunJournal, error: BrokerConnectionError) -> None:
        """Release a run that has sent orders, so that a short broker outage does not leave it half done."""
        if not any(order.submitted_at for order in await journal.orders()):
            await self._fail(journal, error.code, error.message)
            return
        self.broker_is_unreachable = True
        seconds = await journal.release()
        if seconds > self._timings.broker_wait_seconds:
            message = (
                f"{error.message} The broker has been unreachable for {duration_text(seconds)}, and this run has sent "
                "orders."
            )
            await self._end(journal, RunState.NEEDS_ATTENTION, error.code, message)
            return
        await journal.add_timeline_entry(
            "connection_lost", f"{error.message} This run has sent orders and will be resumed.", "error"
        )

    async def _fail(self, journal: RunJournal, code: str, message: str) -> None:
        """Fail the run. If it may have open orders, it needs attention instead."""
        sent = [order for order in await journal.orders() if order.submitted_at]
        orders = [order for order in sent if not order.is_resolved]
        state = RunState.STOPPED if any(order.filled_quantity for order in sent) else RunState.FAILED
        if orders:
            symbols = ", ".join(order.symbol for order in orders)
            message = f"{message} The status of these orders is unknown: {symbols}."
        await self._end(journal, RunState.NEEDS_ATTENTION if orders else state, code, message)

    @staticmethod
    async def _end(journal: RunJournal, state: RunState, code: str, message: str) -> None:
        logger.warning("Run %s: %s", state, message)
        await journal.end(state, code=code, message=message)
