"""The orders and executions of a connection, from messages in any order of arrival; proof decides."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import CommissionReport, Contract, Order, OrderState
from ib_async import Execution as IBExecution

from brokers.broker_types import Execution, OrderStatus, OrderUpdate
from brokers.ibkr import mapping
from brokers.ibkr.errors import INVALID_REQUEST, Effect, effect_of, error_text, explains_order
from brokers.ibkr.order_record import OrderRecord


class OrderTracker:
    """Keeps a record of each order, and publishes every change."""

    def __init__(self, client_id: int, publish: Callable[[OrderUpdate], None]) -> None:
        self._client_id = client_id
        self._publish = publish
        self._records: list[OrderRecord] = []
        self._by_permanent_id: dict[int, OrderRecord] = {}
        self._by_order_id: dict[tuple[int, int], OrderRecord] = {}
        self._by_execution: dict[str, OrderRecord] = {}
        self._time_problems: dict[str, str] = {}  # by execution

    # ---- records

    def add_submitted(self, order_id: int, contract: Contract, order: Order) -> OrderRecord:
        """Create the record of an order that is about to be submitted."""
        record = self._add(contract, order)
        record.client_id, record.order_id = self._client_id, order_id
        self._by_order_id[self._client_id, order_id] = record
        return record

    def renumber(self, record: OrderRecord, order_id: int) -> None:
        """Give an order that was not accepted under its order id another one, under which it is sent again."""
        self._by_order_id.pop((self._client_id, record.order_id), None)
        self._by_order_id[self._client_id, order_id] = record
        record.order_id, record.order_id_was_used = order_id, False

    def reject(self, record: OrderRecord) -> None:
        """Mark an order as rejected after lookups have proven that the broker does not have it."""
        record.rejected = True
        self._changed(record)

    def find_by_client_order_id(self, account_id: str, client_order_id: str) -> OrderRecord | None:
        """Return the order with our id. If there are several, which must not happen, the one with the most fills."""
        found = [record for record in self.of_account(account_id) if record.client_order_id == client_order_id]
        return max(found, key=lambda record: (record.filled, bool(record.permanent_id)), default=None)

    def find_by_permanent_id(self, account_id: str, permanent_id: str) -> OrderRecord | None:
        """Return the account's order with the broker's permanent id."""
        record = self._by_permanent_id.get(int(permanent_id)) if permanent_id.isdigit() else None
        return record if record is not None and record.account_id == account_id else None

    def unacknowledged(self) -> list[OrderRecord]:
        """Return our submitted orders that the broker has not acknowledged, without those that timed out."""
        return [
            record
            for (client_id, _), record in self._by_order_id.items()
            if client_id == self._client_id and not record.is_acknowledged and not record.ack_timed_out
        ]

    def of_account(self, account_id: str) -> list[OrderRecord]:
        """Return all known orders of the account."""
        return [record for record in self._records if record.account_id == account_id]

    def executions(self, account_id: str, since: datetime) -> list[Execution]:
        """Return all known executions of the account since an instant, oldest first."""
        found = [
            execution
            for record in self.of_account(account_id)
            for execution in record.executions.values()
            if execution.executed_at >= since
        ]
        return sorted(found, key=lambda execution: (execution.executed_at, execution.execution_id))

    def time_problem(self, account_id: str) -> str:
        """Return why it is not known when an execution of the account happened; empty if all times are known."""
        keys = (key for record in self.of_account(account_id) for key in record.executions)
        return next((self._time_problems[key] for key in keys if key in self._time_problems), "")

    def wake_all(self) -> None:
        """Wake everything that waits for an order: the connection is lost, and nothing more arrives."""
        for record in self._records:
            record.updated.set()

    # ---- messages of the broker

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        """Process the current state of an order, sent after a change or on request."""
        record = self._find(order.permId, order.clientId, order.orderId, order.orderRef) or self._add(contract, order)
        record.client_id, record.order_id = order.clientId, order.orderId
        if order.orderId > 0:
            self._by_order_id[order.clientId, order.orderId] = record
        record.total = mapping.amount(order.totalQuantity) or record.total
        self._identify(record, order.permId)
        # This status can be outdated, so it counts only until the first orderStatus.
        if not record.ib_status or record.ib_status in mapping.PENDING_STATUSES:
            record.ib_status = state.status or record.ib_status
        self._changed(record)

    def on_status(
        self, order_id: int, client_id: int, permanent_id: int, ib_status: str, filled: float, average: float
    ) -> None:
        """Process the status of an order. A late status does not reopen an ended order, and fills only grow."""
        record = self._find(permanent_id, client_id, order_id, None)
        if record is None:
            return
        self._identify(record, permanent_id)
        if ib_status in mapping.OPEN_STATUSES:
            record.rejected = False  # it is open after all; this is the safe side, on which no order is forgotten
        if record.ib_status not in {"Filled", *mapping.CANCELLED_STATUSES}:
            record.ib_status = ib_status
        if mapping.amount(filled) >= record.status_filled:
            record.status_filled = mapping.amount(filled)
            record.status_average_price = mapping.price(average) or record.status_average_price
        self._changed(record)

    def on_error(self, order_id: int, code: int, broker_message: str) -> bool:
        """Process an error with an order id. Return whether it is about one of our orders."""
        record = self._by_order_id.get((self._client_id, order_id))
        if record is None:
            return False
        effect = effect_of(code)
        message = error_text(code, broker_message)
        is_open = record.ib_status in mapping.OPEN_STATUSES
        if effect is Effect.CANCEL_FAILED or (is_open and code == INVALID_REQUEST):  # the request was to cancel it
            record.cancel_refusal = message
        elif effect is Effect.NOT_SENT:
            record.order_id_was_used = True
            record.updated.set()
            return True
        else:
            record.messages.append(message)
            record.has_unexplained_error = record.has_unexplained_error or not explains_order(code)
            record.rejected = record.rejected or effect is Effect.REJECTS_ORDER
            record.ended = record.ended or effect is Effect.CANCELS_ORDER
        self._changed(record)
        return True

    def on_execution(self, contract: Contract, received: IBExecution, time_problem: str = "") -> None:
        """Process a fill, pushed or requested. A correction replaces the execution that it corrects.

        Args:
            contract: Contract of the order.
            received: The fill, with the time of its arrival if its own time cannot be used.
            time_problem: Why the fill's own time cannot be used.
        """
        record = self._find(received.permId, received.clientId, received.orderId, received.orderRef)
        if record is None:
            record = OrderRecord(received.acctNumber, mapping.our_symbol(contract), received.side, received.orderRef)
            record.client_id, record.order_id = received.clientId, received.orderId
            self._records.append(record)
        self._identify(record, received.permId)
        key, revision = mapping.execution_key_and_revision(received.execId)
        before = record.executions.get(key)
        if revision < record.revisions.get(key, revision):
            return  # already corrected
        record.revisions[key] = revision
        executed_at = before.executed_at if before and time_problem else received.time.astimezone(UTC)
        if not time_problem:
            self._time_problems.pop(key, None)
        elif before is None:
            self._time_problems[key] = f"{record.symbol}: {time_problem}"
        execution = Execution(
            execution_id=key,
            account_id=received.acctNumber,
            symbol=mapping.our_symbol(contract),
            kind=mapping.security_kind(contract),
            currency=contract.currency or "USD",
            quantity=mapping.signed(received.side, received.shares),
            price_usd=mapping.exact(received.price) or Decimal(0),
            commission_usd=before.commission_usd if before else None,
            executed_at=executed_at,
            order_id=str(received.permId),
            permanent_id=str(received.permId),
            client_order_id=received.orderRef,
        )
        record.executions[key] = execution
        self._by_execution[key] = record
        if execution != before:
            self._publish(execution)
        self._changed(record)

    def on_commission(self, report: CommissionReport) -> None:
        """Process the commission of an execution, which arrives after it."""
        key, _ = mapping.execution_key_and_revision(report.execId)
        record = self._by_execution.get(key)
        commission = mapping.exact(report.commission)
        if record is None or commission is None or report.currency not in {"USD", ""}:
            return
        before = record.executions[key]
        if before.commission_usd != commission:
            record.executions[key] = before.model_copy(update={"commission_usd": commission})
            self._publish(record.executions[key])
            record.updated.set()

    def on_completed(self, contract: Contract, order: Order, state: OrderState) -> None:
        """Process a completed order. After a reconnect it has no order id and no total."""
        record = self._find(order.permId, 0, 0, order.orderRef) or self._add(contract, order)
        self._identify(record, order.permId)
        record.ib_status = state.status or record.ib_status
        record.ended = True  # a completed order cannot be reopened, whatever its last status was
        record.status_filled = max(record.status_filled, mapping.amount(order.filledQuantity))
        if state.completedStatus and not record.messages and record.status is not OrderStatus.FILLED:
            record.messages.append(state.completedStatus)
        self._changed(record)

    def _find(self, permanent_id: int, client_id: int, order_id: int, reference: str | None) -> OrderRecord | None:
        """Find an order by its permanent id, or by its order id if nothing contradicts it: order ids are reused."""
        if permanent_id and permanent_id in self._by_permanent_id:
            return self._by_permanent_id[permanent_id]
        record = self._by_order_id.get((client_id, order_id)) if order_id > 0 else None
        if record is None or (record.permanent_id and permanent_id and record.permanent_id != permanent_id):
            return None
        if reference is not None and record.client_order_id != reference:
            return None
        return record

    def _identify(self, record: OrderRecord, permanent_id: int) -> None:
        if permanent_id and not record.permanent_id:
            record.permanent_id = permanent_id
            self._by_permanent_id[permanent_id] = record

    def _add(self, contract: Contract, order: Order) -> OrderRecord:
        record = OrderRecord(
            account_id=order.account,
            symbol=mapping.our_symbol(contract),
            side=order.action,
            client_order_id=order.orderRef,
            total=mapping.amount(order.totalQuantity),
            order_type=order.orderType,
            limit=mapping.price(order.lmtPrice) if order.orderType == "LMT" else None,
        )
        self._records.append(record)
        return record

    def _changed(self, record: OrderRecord) -> None:
        record.updated.set()
        result = record.result()
        if result != record.published:
            record.published = result
            self._publish(result)
