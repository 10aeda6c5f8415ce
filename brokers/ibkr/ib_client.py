"""ib_async with its own message handlers replaced: messages reach the connector as the gateway sent them.

The library's Trade and Ticker objects are not used. They stop updating when the socket is lost, do not store which
order an error was about, and keep outdated values.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Protocol

from ib_async import IB, CommissionReport, Contract, Order, OrderState
from ib_async import Execution as IBExecution
from ib_async.client import Client
from ib_async.decoder import Decoder
from ib_async.util import UNSET_INTEGER
from ib_async.wrapper import RequestError, Wrapper

from brokers.ibkr.errors import ACCOUNT_FOLLOWED_ELSEWHERE, INVALID_REQUEST, Effect, effect_of, error_text
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.times import parse_execution_time

logger = logging.getLogger("rebalancer.brokers")

MESSAGES_PER_SECOND = 45
"""Maximum messages per second that the library sends. The gateway accepts 50."""

MESSAGES_BEFORE_ORDER = 43
"""Maximum messages of the last second before an order: below the library's limit, so that its queue stays empty."""


NO_REQUEST_ID = frozenset({-1, UNSET_INTEGER})
REQUESTS_WITHOUT_ID = {
    INVALID_REQUEST: ("openOrders", "completedOrders"),  # of a gateway whose API is read-only
    ACCOUNT_FOLLOWED_ELSEWHERE: ("accountValues",),
}
"""Requests, by the library's keys, that an error without a request id ends: the gateway does not answer them."""
ORDER_ID_GAP = 10
"""Factor of the gap between an order id that was used before and the next one that is tried."""

_REQUEST_ID, _EXECUTION_TIME = 1, 15
"""Positions of fields in the message of an execution."""


class TickListener(Protocol):
    """Receiver of quote messages."""

    def on_tick(self, request_id: int, tick_type: int, value: float) -> None:
        """Process a price, a size or a status; the tick type defines which."""

    def on_data_type(self, request_id: int, data_type: int) -> None:
        """Process whether the following ticks are live, frozen or delayed."""


class _Wrapper(Wrapper):
    """Passes messages to the order tracker and to the listener of quotes."""

    ib: "IBClient"

    def __init__(self, ib: IB, order_tracker: OrderTracker, ticks: TickListener) -> None:
        super().__init__(ib)
        self._order_tracker = order_tracker
        self._ticks = ticks
        self.requested_account = ""
        self.time_problem = ""

    def openOrder(self, orderId: int, contract: Contract, order: Order, orderState: OrderState) -> None:  # noqa: N802, N803
        super().openOrder(orderId, contract, order, orderState)
        if not order.whatIf:
            self._order_tracker.on_open_order(contract, order, orderState)

    def orderStatus(  # noqa: N802, PLR0913, PLR0917
        self,
        orderId: int,  # noqa: N803
        status: str,
        filled: float,
        remaining: float,
        avgFillPrice: float,  # noqa: N803
        permId: int,  # noqa: N803
        parentId: int,  # noqa: N803
        lastFillPrice: float,  # noqa: N803
        clientId: int,  # noqa: N803
        whyHeld: str,  # noqa: N803
        mktCapPrice: float = 0.0,  # noqa: N803
    ) -> None:
        self._order_tracker.on_status(orderId, clientId, permId, status, filled, avgFillPrice)

    def error(self, reqId: int, errorCode: int, errorString: str, advancedOrderRejectJson: str) -> None:  # noqa: N803
        effect = effect_of(errorCode)
        if effect is Effect.NOT_SENT:
            self.ib.client.skip_order_ids(reqId)
        if reqId in NO_REQUEST_ID:
            for kind in REQUESTS_WITHOUT_ID.get(errorCode, ()):
                self._endReq(kind, RequestError(reqId, errorCode, errorString), success=False)
        is_failure = reqId in self._futures and effect in {Effect.REJECTS_ORDER, Effect.REQUEST}
        if not self._order_tracker.on_error(reqId, errorCode, errorString) and is_failure:
            # The library treats some refusals as warnings, and would never complete the request.
            self._endReq(reqId, RequestError(reqId, errorCode, errorString), success=False)
        super().error(reqId, errorCode, errorString, advancedOrderRejectJson)

    def is_requested(self, request_id: int) -> bool:
        """Return whether a message responds to a request. Other messages are pushed when something happens."""
        return request_id in self._futures

    def execDetails(self, reqId: int, contract: Contract, execution: IBExecution) -> None:  # noqa: N802, N803
        super().execDetails(reqId, contract, execution)
        self._order_tracker.on_execution(contract, execution, self.time_problem)

    def commissionReport(self, commissionReport: CommissionReport) -> None:  # noqa: N802, N803
        self._order_tracker.on_commission(commissionReport)

    def completedOrder(self, contract: Contract, order: Order, orderState: OrderState) -> None:  # noqa: N802, N803
        super().completedOrder(contract, order, orderState)
        self._order_tracker.on_completed(contract, order, orderState)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:  # noqa: N802, N803
        self._ticks.on_tick(reqId, tickType, price)

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:  # noqa: N802, N803
        self._ticks.on_tick(reqId, tickType, size)

    def tickString(self, reqId: int, tickType: int, value: str) -> None:  # noqa: N802, N803
        """Ignore the times and exchanges of ticks."""

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:  # noqa: N802, N803
        self._ticks.on_tick(reqId, tickType, value)

    def marketDataType(self, reqId: int, marketDataId: int) -> None:  # noqa: N802, N803
        self._ticks.on_data_type(reqId, marketDataId)

    def accountDownloadEnd(self, _account: str) -> None:  # noqa: N802
        # The library completes the request at the end of any account's download.
        if _account == self.requested_account:
            super().accountDownloadEnd(_account)


class _Client(Client):
    """Chooses higher order ids after the gateway reported one as used before."""

    _skipped = 0

    def skip_order_ids(self, used: int) -> None:
        """Continue above an order id that was used before; farther above it each time, because more can follow it."""
        self._skipped += 1
        self.updateReqId(used + ORDER_ID_GAP**self._skipped)


class _Decoder(Decoder):
    """Reads the times of executions. The library misreads UTC, and drops an execution whose zone it does not know."""

    wrapper: _Wrapper

    def execDetails(self, fields: list[str]) -> None:  # noqa: N802
        wrapper, now = self.wrapper, datetime.now(UTC)
        wrapper.time_problem = ""
        try:
            at = parse_execution_time(fields[_EXECUTION_TIME], now, wrapper.ib.TimezoneTWS)
        except ValueError as error:
            at = now
            logger.warning("The time of an execution cannot be used: %s.", error)
            if wrapper.is_requested(int(fields[_REQUEST_ID])):  # else it happened just now
                wrapper.time_problem = str(error)
        fields[_EXECUTION_TIME] = f"{at:%Y%m%d %H:%M:%S} UTC"
        super().execDetails(fields)


class IBClient(IB):
    """One connection to a gateway. It is not used again after it is closed."""

    def __init__(self, order_tracker: OrderTracker, ticks: TickListener, time_zone: str) -> None:
        super().__init__()
        self.TimezoneTWS = time_zone
        self.wrapper: _Wrapper = _Wrapper(self, order_tracker, ticks)
        self.client: _Client = _Client(self.wrapper)
        self.client.decoder = _Decoder(self.wrapper, 0)
        self.client.MaxRequests = MESSAGES_PER_SECOND
        # A gateway that reads several messages at once then delays them instead of reporting error 100.
        self.client.setConnectOptions("+PACEAPI")
        self.client.apiEnd += self.disconnectedEvent
        self.RaiseRequestErrors = True

    def seconds_until_turn(self) -> float:
        """Return the seconds until an order would be sent at once; 0 if it would be now."""
        sent = self.client._timeQ  # noqa: SLF001 - the times of the messages that the library counts
        if len(sent) < MESSAGES_BEFORE_ORDER:
            return 0.0
        left: float = sent[-MESSAGES_BEFORE_ORDER] + self.client.RequestsInterval - asyncio.get_running_loop().time()
        return max(left, 0.0)

    async def request_account(self, account_id: str) -> None:
        """Request the values of one account. The library has one future for all accounts: request one at a time.

        While another client follows another account, the gateway refuses the request. Another request returns the same
        values then, but no marks of the positions.
        """
        self.wrapper.requested_account = account_id
        self.wrapper.portfolio.pop(account_id, None)
        for key in [key for key in self.wrapper.accountValues if key[0] == account_id]:
            del self.wrapper.accountValues[key]
        try:
            await self.reqAccountUpdatesAsync(account_id)
        except RequestError as error:
            if effect_of(error.code) is not Effect.ACCOUNT_DATA:
                raise
            logger.warning("%s", error_text(error.code, error.message))
            await self._request_values(account_id)

    async def _request_values(self, account_id: str) -> None:
        request_id = self.client.getReqId()
        values = self.wrapper.startReq(request_id)
        self.client.reqAccountUpdatesMulti(request_id, account_id, "", False)
        try:
            await values
        finally:
            self.client.cancelAccountUpdatesMulti(request_id)
