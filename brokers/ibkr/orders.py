"""Orders: sent once, acknowledged or of unknown outcome; looked up by our id; ended only with proof."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from decimal import Decimal

from ib_async import ExecutionFilter, OrderState
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
    BrokerConnectionError,
    BrokerSilent,
    CapabilityMissing,
    OrderExecutionError,
    OrderOutcomeUnknown,
    OrderRejected,
)
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import Contracts, to_wire
from brokers.ibkr.errors import error_text
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.order_tracker import OrderRecord, OrderTracker

logger = logging.getLogger("rebalancer.brokers")

COMMISSIONS_SECONDS = 1.0
"""For so long commissions are waited for that come after the executions; they are no part of the answer."""


class Orders:
    """The orders of a link."""

    def __init__(
        self, settings: ConnectionSettings, link: GatewayConnection, ledger: OrderTracker, contracts: Contracts
    ) -> None:
        self._settings = settings
        self._link = link
        self._ledger = ledger
        self._contracts = contracts
        self._open_ids: frozenset[int] = frozenset()
        self._open = _Shared(self._ask_open)
        self._completed = _Shared(self._ask_completed)

    # ---- sending

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
        """Sends one order and waits for the first word of it. Moves money: yes."""
        facts = await self._facts_to_trade(symbol, quantity)
        if order_type is OrderType.LIMIT:
            limit = _limit_on_grid(facts, quantity, limit)
        order = mapping.order_to_send(account_id, quantity, order_type, limit, time_in_force, client_order_id)
        await self._link.until_confirmed()
        await self._link.until_clear()
        if self._ledger.with_client_order_id(account_id, client_order_id) is not None:
            # The broker takes a second order under the same id without a word: that it is sent once is our part.
            raise OrderOutcomeUnknown(f"An order under the id {client_order_id} was sent before; it is not sent again.")
        contract = to_wire(facts)
        order.orderId = self._link.wire.client.getReqId()
        record = self._ledger.sent(order.orderId, contract, order)
        try:
            self._link.wire.placeOrder(contract, order)
        except ConnectionError as error:
            raise OrderOutcomeUnknown("The connection broke while the order was sent.") from error
        await self._until_heard(record, lambda: record.is_acknowledged)
        return self._first_word(record)

    def _first_word(self, record: OrderRecord) -> OrderResult:
        if record.status is OrderStatus.REJECTED:
            raise OrderRejected(" ".join(record.words))
        if record.is_acknowledged:
            return record.result()
        record.given_up = True
        if self._link.broken is not None:
            raise OrderOutcomeUnknown(f"{self._link.broken.message} The order was not acknowledged before.")
        said = f" It said: {' '.join(record.words)}" if record.words else ""
        raise OrderOutcomeUnknown(
            f"The broker did not acknowledge the order within {self._settings.request_timeout_seconds:g} s.{said}"
        )

    async def _facts_to_trade(self, symbol: str, quantity: Decimal) -> ContractFacts:
        if quantity != quantity.to_integral_value() or not quantity:
            raise CapabilityMissing("Interactive Brokers takes whole shares only; nothing was sent.")
        facts = (await self._contracts.of([symbol])).get(symbol)
        if facts is None:
            raise OrderRejected(f"The broker knows no single US stock by the symbol {symbol}; nothing was sent.")
        return facts

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, limit: Decimal) -> Feasibility:
        """A what-if order. Moves money: no."""
        facts = await self._facts_to_trade(symbol, quantity)
        grid = _limit_on_grid(facts, quantity, limit)
        order = mapping.order_to_send(account_id, quantity, OrderType.LIMIT, grid, TimeInForce.DAY, "")
        await self._link.until_clear()
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                state: OrderState = await self._link.wire.whatIfOrderAsync(to_wire(facts), order)
        except TimeoutError as error:
            raise BrokerSilent(f"The gateway did not say whether it would take the order of {symbol}.") from error
        except RequestError as error:
            return Feasibility(accepted=False, message=error_text(error.code, error.message))
        except ConnectionError as error:
            raise BrokerConnectionError("The connection broke while an order was tried out.") from error
        return mapping.feasibility(state)

    async def cancel(self, account_id: str, order_id: str) -> None:
        """Asks for a cancel and waits for the first word of it. Moves money: no."""
        record = self._ledger.with_permanent_id(account_id, order_id)
        if record is None:
            await self._open.ask()
            record = self._ledger.with_permanent_id(account_id, order_id)
        if record is None:
            raise OrderExecutionError(f"The broker has no order {order_id!r} to cancel.")
        if record.client_id != self._settings.client_id or record.order_id <= 0:
            raise OrderExecutionError(
                f"The order of {record.symbol} was placed elsewhere (client {record.client_id}); only there it can be "
                "cancelled: by hand in TWS, or in the broker's app."
            )
        record.cancel_refusal = ""
        await self._link.until_clear()
        self._link.wire.client.cancelOrder(record.order_id, "")
        await self._until_heard(record, lambda: record.is_being_cancelled or bool(record.cancel_refusal))
        if record.cancel_refusal and not record.status.is_terminal:
            raise OrderExecutionError(record.cancel_refusal)

    async def until_acknowledged(self) -> None:
        """Waits for what is in the air: the library drops what waits in its queue when it hangs up."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await self._link.until_clear()
                for record in self._ledger.unacknowledged():
                    await self._until_heard(record, lambda one=record: one.is_acknowledged)  # type: ignore[misc]
        except (TimeoutError, BrokerConnectionError):
            pass
        for record in self._ledger.unacknowledged():
            logger.warning("Order %s of %s was not acknowledged", record.client_order_id, record.symbol)

    async def _until_heard(self, record: OrderRecord, enough: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                while not enough() and self._link.is_up:
                    record.heard.clear()
                    await record.heard.wait()
        except TimeoutError:
            pass

    # ---- looking up

    async def open_orders(self, account_id: str) -> list[OpenOrder]:
        """Every live order of the account, whoever has placed it. Moves money: no."""
        await self._open.ask()
        return [
            record.open_order()
            for record in self._ledger.of_account(account_id)
            if record.permanent_id in self._open_ids and not record.status.is_terminal
        ]

    async def find(self, account_id: str, client_order_id: str) -> OrderResult | None:
        """By our id, in open and completed orders. Moves money: no."""
        await self._look_everywhere()
        record = self._ledger.with_client_order_id(account_id, client_order_id)
        return record.result() if record is not None and record.is_proven else None

    async def status(self, account_id: str, order_id: str) -> OrderResult | None:
        """By the broker's lasting id. Moves money: no."""
        await self._look_everywhere()
        record = self._ledger.with_permanent_id(account_id, order_id)
        return record.result() if record is not None else None

    async def executions(self, account_id: str, since: datetime) -> list[Execution]:
        """The fills of the account, oldest first; commissions are waited for a little. Moves money: no."""

        async def ask(wire: IBClient) -> None:
            await wire.reqExecutionsAsync(ExecutionFilter(acctCode=account_id))

        await self._link.ask("executions", ask, lock="executions")
        try:
            async with asyncio.timeout(COMMISSIONS_SECONDS):
                for record in self._ledger.of_account(account_id):
                    while record.lacks_commission and self._link.is_up:
                        record.heard.clear()
                        await record.heard.wait()
        except TimeoutError:
            pass
        return self._ledger.executions(account_id, since)

    async def _look_everywhere(self) -> None:
        await asyncio.gather(self._open.ask(), self._completed.ask())

    async def _ask_open(self) -> None:
        async def ask(wire: IBClient) -> Iterable[int]:
            return [trade.order.permId for trade in await wire.reqAllOpenOrdersAsync()]

        self._open_ids = frozenset(await self._link.ask("open orders", ask, lock="open orders"))

    async def _ask_completed(self) -> None:
        async def ask(wire: IBClient) -> None:
            await wire.reqCompletedOrdersAsync(apiOnly=False)

        await self._link.ask("completed orders", ask, lock="completed orders")


class _Shared:
    """A question that many ask at the same time: whoever comes while one is on its way shares the next."""

    def __init__(self, question: Callable[[], Awaitable[None]]) -> None:
        self._question = question
        self._on_its_way: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def ask(self) -> None:
        """Returns when a question that was sent after this call is answered."""
        if self._next is None:
            self._next = asyncio.create_task(self._send_next(self._on_its_way))
        await asyncio.shield(self._next)

    async def _send_next(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        self._on_its_way, self._next = self._next, None
        await self._question()


def _limit_on_grid(facts: ContractFacts, quantity: Decimal, limit: Decimal | None) -> Decimal:
    if limit is None or limit <= 0:
        raise CapabilityMissing("A limit order needs a positive price; nothing was sent.")
    grid = mapping.on_grid(limit, quantity, facts.tick_steps)
    if grid <= 0:
        raise OrderRejected(f"The limit {limit} of {facts.symbol} is below its tick; nothing was sent.")
    return grid
