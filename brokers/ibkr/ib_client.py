"""ib_async with our ears on the wire: what the gateway says reaches us as it was said.

The library's own Trade and Ticker objects are not used. They freeze when the socket drops, forget what an error was
about, and keep the values of an hour ago.
"""

from typing import Any, Protocol

from ib_async import IB, CommissionReport, Contract, Order, OrderState
from ib_async import Execution as WireExecution
from ib_async.client import Client
from ib_async.wrapper import RequestError, Wrapper

from brokers.ibkr.errors import Effect, effect_of
from brokers.ibkr.order_tracker import OrderTracker

MESSAGES_PER_SECOND = 45
"""What the library sends at most; the gateway takes 50."""


class TickListener(Protocol):
    """Whoever follows quotes."""

    def on_price(self, request_id: int, tick_type: int, price: float) -> None:
        """One side of a quote."""

    def on_data_type(self, request_id: int, data_type: int) -> None:
        """Whether what follows is live, frozen or delayed."""


class _Wrapper(Wrapper):
    """Hands on what comes to the ledger and to whoever follows quotes."""

    def __init__(self, ib: IB, ledger: OrderTracker, ticks: TickListener) -> None:
        super().__init__(ib)
        self._ledger = ledger
        self._ticks = ticks
        self.account_asked = ""

    def openOrder(self, orderId: int, contract: Contract, order: Order, orderState: OrderState) -> None:  # noqa: N802, N803
        super().openOrder(orderId, contract, order, orderState)
        if not order.whatIf:
            self._ledger.on_open_order(contract, order, orderState)

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
        self._ledger.on_status(orderId, clientId, permId, status, filled, avgFillPrice)

    def error(self, reqId: int, errorCode: int, errorString: str, advancedOrderRejectJson: str) -> None:  # noqa: N803
        waited_for = reqId in self._futures
        if not self._ledger.on_error(reqId, errorCode, errorString) and waited_for and _refuses(errorCode):
            # Some refusals count as warnings in the library, and the question would never be answered.
            self._endReq(reqId, RequestError(reqId, errorCode, errorString), success=False)
        super().error(reqId, errorCode, errorString, advancedOrderRejectJson)

    def execDetails(self, reqId: int, contract: Contract, execution: WireExecution) -> None:  # noqa: N802, N803
        super().execDetails(reqId, contract, execution)
        self._ledger.on_execution(contract, execution)

    def commissionReport(self, commissionReport: CommissionReport) -> None:  # noqa: N802, N803
        self._ledger.on_commission(commissionReport)

    def completedOrder(self, contract: Contract, order: Order, orderState: OrderState) -> None:  # noqa: N802, N803
        super().completedOrder(contract, order, orderState)
        self._ledger.on_completed(contract, order, orderState)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:  # noqa: N802, N803
        self._ticks.on_price(reqId, tickType, price)

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:  # noqa: N802, N803
        """Sizes are not looked at."""

    def tickString(self, reqId: int, tickType: int, value: str) -> None:  # noqa: N802, N803
        """Times and exchanges of ticks are not looked at."""

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:  # noqa: N802, N803
        """Volatility and the like are not looked at."""

    def marketDataType(self, reqId: int, marketDataId: int) -> None:  # noqa: N802, N803
        self._ticks.on_data_type(reqId, marketDataId)

    def accountDownloadEnd(self, _account: str) -> None:  # noqa: N802
        # The library ends the question whatever account the end is of.
        if _account == self.account_asked:
            super().accountDownloadEnd(_account)


class IBClient(IB):
    """One connection to a gateway, never used again after it is closed."""

    def __init__(self, ledger: OrderTracker, ticks: TickListener) -> None:
        super().__init__()
        self.wrapper: _Wrapper = _Wrapper(self, ledger, ticks)
        self.client = Client(self.wrapper)
        self.client.MaxRequests = MESSAGES_PER_SECOND
        # A gateway that reads some of our messages together then holds them back, in place of complaining (error 100).
        self.client.setConnectOptions("+PACEAPI")
        self.client.apiEnd += self.disconnectedEvent
        self.RaiseRequestErrors = True

    def ask_account(self, account_id: str) -> Any:
        """Everything about one account; the library has one future for all accounts, so ask for one at a time."""
        self.wrapper.account_asked = account_id
        self.wrapper.portfolio.pop(account_id, None)
        for key in [key for key in self.wrapper.accountValues if key[0] == account_id]:
            del self.wrapper.accountValues[key]
        return self.reqAccountUpdatesAsync(account_id)


def _refuses(code: int) -> bool:
    return effect_of(code) in {Effect.REFUSES_ORDER, Effect.REQUEST}
