"""ib_async with its own message handlers replaced: messages reach the connector as the gateway sent them.

The library's Trade and Ticker objects are not used. They stop updating when the socket is lost, do not store which
order an error was about, and keep outdated values.
"""

import asyncio
from typing import Any, Protocol

from ib_async import IB, CommissionReport, Contract, Order, OrderState
from ib_async import Execution as IBExecution
from ib_async.client import Client
from ib_async.wrapper import RequestError, Wrapper

from brokers.ibkr.errors import Effect, effect_of
from brokers.ibkr.order_tracker import OrderTracker

MESSAGES_PER_SECOND = 45
"""Maximum messages per second that the library sends. The gateway accepts 50."""

MESSAGES_BEFORE_ORDER = 43
"""Maximum messages of the last second before an order: below the library's limit, so that its queue stays empty."""


class TickListener(Protocol):
    """Receiver of quote messages."""

    def on_tick(self, request_id: int, tick_type: int, value: float) -> None:
        """Process a price, a size or a status; the tick type defines which."""

    def on_data_type(self, request_id: int, data_type: int) -> None:
        """Process whether the following ticks are live, frozen or delayed."""


class _Wrapper(Wrapper):
    """Passes messages to the order tracker and to the listener of quotes."""

    def __init__(self, ib: IB, order_tracker: OrderTracker, ticks: TickListener) -> None:
        super().__init__(ib)
        self._order_tracker = order_tracker
        self._ticks = ticks
        self.requested_account = ""

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
        is_failure = reqId in self._futures and effect_of(errorCode) in {Effect.REJECTS_ORDER, Effect.REQUEST}
        if not self._order_tracker.on_error(reqId, errorCode, errorString) and is_failure:
            # The library treats some refusals as warnings, and would never complete the request.
            self._endReq(reqId, RequestError(reqId, errorCode, errorString), success=False)
        super().error(reqId, errorCode, errorString, advancedOrderRejectJson)

    def execDetails(self, reqId: int, contract: Contract, execution: IBExecution) -> None:  # noqa: N802, N803
        super().execDetails(reqId, contract, execution)
        self._order_tracker.on_execution(contract, execution)

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


class IBClient(IB):
    """One connection to a gateway. It is not used again after it is closed."""

    def __init__(self, order_tracker: OrderTracker, ticks: TickListener) -> None:
        super().__init__()
        self.wrapper: _Wrapper = _Wrapper(self, order_tracker, ticks)
        self.client = Client(self.wrapper)
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

    def request_account(self, account_id: str) -> Any:
        """Request the values of one account. The library has one future for all accounts: request one at a time."""
        self.wrapper.requested_account = account_id
        self.wrapper.portfolio.pop(account_id, None)
        for key in [key for key in self.wrapper.accountValues if key[0] == account_id]:
            del self.wrapper.accountValues[key]
        return self.reqAccountUpdatesAsync(account_id)
