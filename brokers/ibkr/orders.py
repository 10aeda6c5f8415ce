"""Orders: submitted once, and acknowledged or of unknown outcome. Lookups use our id; only proof ends an order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from ib_async import Contract, Order, OrderState
from ib_async.wrapper import RequestError

from brokers.broker_types import (
    ConnectionSettings,
    ContractFacts,
    Execution,
    Feasibility,
    OpenOrder,
    OrderResult,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from brokers.exceptions import (
    BrokerAPIError,
    BrokerConnectionError,
    CapabilityMissing,
    ExecutionTimesUnusable,
    OrderExecutionError,
    OrderOutcomeUnknown,
    OrderRejected,
)
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import Contracts, to_ib_contract
from brokers.ibkr.errors import CODES, Effect, effect_of, error_text
from brokers.ibkr.limits import Limits
from brokers.ibkr.order_record import OrderRecord
from brokers.ibkr.order_tracker import OrderTracker

logger = logging.getLogger("rebalancer.brokers")

NO_VERDICT = frozenset(
    {Effect.CONNECTION, Effect.BROKER_LOST, Effect.REQUEST, Effect.QUOTE, Effect.ACCOUNT_DATA, Effect.NOT_SENT}
)
"""Effects of errors to a what-if order after which it stays open whether the broker would accept the order."""


class Orders:
    """The orders of a connection."""

    def __init__(
        self,
        settings: ConnectionSettings,
        limits: Limits,
        connection: GatewayConnection,
        order_tracker: OrderTracker,
        contracts: Contracts,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._connection = connection
        self._order_tracker = order_tracker
        self._contracts = contracts
        self._open_ids: frozenset[int] = frozenset()
        self._open_order_ids: frozenset[tuple[int, int]] = frozenset()
        self._open = _SharedRequest(self._request_open)
        self._completed = _SharedRequest(self._request_completed)

    # ---- submitting and cancelling

    async def place(
        self,
        account_id: str,
        symbol: str,
        quantity: Decimal,
        order_type: OrderType,
        limit: Decimal | None,
        client_order_id: str,
        time_in_force: TimeInForce,
    ) -> OrderResult:
        """Submit one order and wait for its acknowledgement. Moves money: yes."""
        facts = await self._tradable(symbol, quantity)
        if order_type is OrderType.LIMIT:
            limit = _rounded_limit(facts, quantity, limit)
        order = mapping.order_to_send(account_id, quantity, order_type, limit, time_in_force, client_order_id)
        await self._connection.until_orders_downloaded()
        await self._connection.until_queue_empty()
        if self._order_tracker.find_by_client_order_id(account_id, client_order_id) is not None:
            # The broker accepts a second order with the same id, so the connector must prevent it.
            raise OrderOutcomeUnknown(
                f"An order with the id {client_order_id} was submitted before. It is not submitted again."
            )
        contract = to_ib_contract(facts)
        order.orderId = self._connection.ib.client.getReqId()
        record = self._order_tracker.add_submitted(order.orderId, contract, order)
        await self._send(contract, order, record)
        for _ in range(self._limits.max_order_ids - 1):
            if not record.order_id_was_used:
                break
            order.orderId = self._connection.ib.client.getReqId()
            self._order_tracker.renumber(record, order.orderId)
            await self._send(contract, order, record)
        if record.is_doubtful:
            await self._until(record, lambda one: not one.is_doubtful, self._limits.refusal_wait_seconds)
            with suppress(BrokerConnectionError, BrokerAPIError):
                await self._request_all()
        return self._acknowledgement(record)

    async def _send(self, contract: Contract, order: Order, record: OrderRecord) -> None:
        """Send the order under its order id and wait for the broker's first response."""
        try:
            self._connection.ib.placeOrder(contract, order)
        except ConnectionError as error:
            raise OrderOutcomeUnknown("The connection was lost while the order was submitted.") from error
        await self._until(record, lambda one: one.is_answered)

    def _acknowledgement(self, record: OrderRecord) -> OrderResult:
        if record.order_id_was_used:
            self._order_tracker.reject(record)
            raise OrderRejected(f"IBKR 103: {CODES[103].description} {CODES[103].action} Nothing was submitted.")
        if record.status is OrderStatus.REJECTED:
            raise OrderRejected(" ".join(record.messages))
        if record.is_doubtful and not self._is_listed(record):
            record.ack_timed_out = True
            raise OrderOutcomeUnknown(" ".join(record.messages))
        if record.is_acknowledged:
            return record.result()
        record.ack_timed_out = True
        if self._connection.failure is not None:
            raise OrderOutcomeUnknown(f"{self._connection.failure.message} The order was not acknowledged before.")
        received = f" Message: {' '.join(record.messages)}" if record.messages else ""
        raise OrderOutcomeUnknown(
            f"The broker did not acknowledge the order within {self._settings.request_timeout_seconds:g} s.{received}"
        )

    async def _tradable(self, symbol: str, quantity: Decimal) -> ContractFacts:
        """Return the contract to trade, or refuse the order."""
        if quantity != quantity.to_integral_value() or not quantity:
            raise CapabilityMissing("Interactive Brokers accepts whole shares only. Nothing was submitted.")
        facts = (await self._contracts.of([symbol])).get(symbol)
        if facts is None:
            raise OrderRejected(f"The broker has no unique US stock with the symbol {symbol}. Nothing was submitted.")
        return facts

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, limit: Decimal) -> Feasibility:
        """Send a what-if order. An order that the gateway does not check counts as feasible. Moves money: no."""
        facts = await self._tradable(symbol, quantity)
        rounded = _rounded_limit(facts, quantity, limit)
        order = mapping.order_to_send(account_id, quantity, OrderType.LIMIT, rounded, TimeInForce.DAY, "")
        await self._connection.until_downloaded()
        await self._connection.until_queue_empty()
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                state: OrderState = await self._connection.ib.whatIfOrderAsync(to_ib_contract(facts), order)
        except TimeoutError:
            return _not_checked(symbol, "The gateway did not respond to the what-if order in time.")
        except RequestError as error:
            message = error_text(error.code, error.message)
            if effect_of(error.code) in NO_VERDICT:
                return _not_checked(symbol, message)
            return Feasibility(accepted=False, message=message)
        except ConnectionError as error:
            raise BrokerConnectionError("The connection was lost during a what-if order.") from error
        return mapping.feasibility(state, reduces=self._reduces(account_id, facts, quantity))

    def _reduces(self, account_id: str, facts: ContractFacts, quantity: Decimal) -> bool:
        """Return whether an order brings the position in its contract nearer to zero, and not beyond."""
        positions = self._connection.ib.positions(account_id)
        held = sum(mapping.amount(one.position) for one in positions if str(one.contract.conId) == facts.contract_id)
        return min(-held, 0) <= quantity <= max(-held, 0)

    async def cancel(self, account_id: str, order_id: str) -> None:
        """Request a cancel and wait for the broker's first response. Moves money: no."""
        record = self._order_tracker.find_by_permanent_id(account_id, order_id)
        if record is None:
            await self._open.send()
            record = self._order_tracker.find_by_permanent_id(account_id, order_id)
        if record is None:
            raise OrderExecutionError(f"The broker has no order {order_id!r} to cancel.")
        if placed_in := record.open_order(self._settings.client_id).placed_in:
            raise OrderExecutionError(
                f"The order of {record.symbol} was placed in {placed_in}, and can be cancelled only there."
            )
        record.cancel_refusal = ""
        await self._connection.until_queue_empty()
        self._connection.ib.client.cancelOrder(record.order_id, "")
        await self._until(record, lambda one: one.is_being_cancelled or bool(one.cancel_refusal))
        if record.cancel_refusal and not record.status.is_terminal:
            raise OrderExecutionError(record.cancel_refusal)

    async def until_acknowledged(self) -> None:
        """Wait for outstanding acknowledgements: on disconnect the library discards the messages in its queue."""
        with suppress(TimeoutError, BrokerConnectionError):
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await self._connection.until_queue_empty()
                for record in self._order_tracker.unacknowledged():
                    await self._until(record, lambda one: one.is_acknowledged)
        for record in self._order_tracker.unacknowledged():
            logger.warning("Order %s of %s was not acknowledged", record.client_order_id, record.symbol)

    async def _until(
        self, record: OrderRecord, condition: Callable[[OrderRecord], bool], seconds: float | None = None
    ) -> None:
        """Wait until the condition holds, the connection ends or the deadline (by default, of a request) passes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.request_timeout_seconds if seconds is None else seconds):
                while not condition(record) and self._connection.is_up:
                    record.updated.clear()
                    await record.updated.wait()

    # ---- lookups

    async def open_orders(self, account_id: str) -> list[OpenOrder]:
        """Return every open order of the account, from any client. Moves money: no."""
        await self._open.send()
        return [
            record.open_order(self._settings.client_id)
            for record in self._order_tracker.of_account(account_id)
            if self._is_listed(record) and not record.status.is_terminal
        ]

    async def find(self, account_id: str, client_order_id: str) -> OrderResult | None:
        """Look an order up by our id, in open and completed orders. Moves money: no.

        An order that an error of unknown meaning was about, and that is not listed, has the status ERROR.
        """
        await self._request_all()
        record = self._order_tracker.find_by_client_order_id(account_id, client_order_id)
        if record is None:
            return None
        is_listed = self._is_listed(record)
        if record.is_doubtful and not is_listed:
            return record.result().model_copy(update={"status": OrderStatus.ERROR})
        return record.result() if record.is_proven or is_listed else None

    async def status(self, account_id: str, order_id: str) -> OrderResult | None:
        """Look an order up by the broker's permanent id. Moves money: no."""
        await self._request_all()
        record = self._order_tracker.find_by_permanent_id(account_id, order_id)
        return record.result() if record is not None else None

    async def executions(self, account_id: str, since: datetime) -> list[Execution]:
        """Return the account's fills, oldest first, after a short wait for missing commissions. Moves money: no.

        Raises:
            ExecutionsUnavailable: The gateway did not send all of them, as some do until they are restarted.
            ExecutionTimesUnusable: It is not known when a fill happened, so that it cannot be counted.
        """
        await self._connection.request_executions(account_id)
        if problem := self._order_tracker.time_problem(account_id):
            raise ExecutionTimesUnusable(
                f"When an execution of account {account_id} happened is not known ({problem}). In the gateway's API "
                "settings, choose to send times in UTC, and check the clock of this host."
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.max_commission_wait_seconds):
                for record in self._order_tracker.of_account(account_id):
                    await self._until(record, lambda one: not one.lacks_commission)
        return self._order_tracker.executions(account_id, since)

    async def _request_all(self) -> None:
        await asyncio.gather(self._open.send(), self._completed.send())

    async def _request_open(self) -> None:
        kind = "open orders"
        trades = await self._connection.request(kind, lambda ib: ib.reqAllOpenOrdersAsync(), lock=kind)
        self._open_ids = frozenset(trade.order.permId for trade in trades)
        self._open_order_ids = frozenset((trade.order.clientId, trade.order.orderId) for trade in trades)

    def _is_listed(self, record: OrderRecord) -> bool:
        """Return whether the last response to a request for open orders had the order, of any status."""
        if record.permanent_id:
            return record.permanent_id in self._open_ids
        return (record.client_id, record.order_id) in self._open_order_ids

    async def _request_completed(self) -> None:
        kind = "completed orders"
        await self._connection.request(kind, lambda ib: ib.reqCompletedOrdersAsync(apiOnly=False), lock=kind)


class _SharedRequest:
    """A request that concurrent callers share. A caller during a pending request shares the following one."""

    def __init__(self, request: Callable[[], Awaitable[None]]) -> None:
        self._request = request
        self._pending: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def send(self) -> None:
        """Wait for the response to a request that was sent after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._send_after(self._pending))
        await asyncio.shield(self._next)

    async def _send_after(self, pending: "asyncio.Task[None] | None") -> None:
        if pending is not None:
            await asyncio.gather(pending, return_exceptions=True)
        self._pending, self._next = self._next, None
        await self._request()


def _not_checked(symbol: str, reason: str) -> Feasibility:
    """Return that nothing speaks against an order: a check that the broker does not answer only helps."""
    logger.warning("The order of %s was not checked: %s", symbol, reason)
    return Feasibility(accepted=True, message=f"Not checked: {reason}")


def _rounded_limit(facts: ContractFacts, quantity: Decimal, limit: Decimal | None) -> Decimal:
    if limit is None or limit <= 0:
        raise CapabilityMissing("A limit order needs a positive price. Nothing was submitted.")
    rounded = mapping.round_to_tick(limit, quantity, facts.tick_steps)
    if rounded <= 0:
        raise OrderRejected(f"The limit {limit} of {facts.symbol} is below its tick size. Nothing was submitted.")
    return rounded
