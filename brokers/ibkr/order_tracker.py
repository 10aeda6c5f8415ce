"""What the broker has said of every order over this connection: proof decides, in whatever order it comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import CommissionReport, Contract, Order, OrderState
from ib_async import Execution as WireExecution

from brokers.broker_types import Execution, OpenOrder, OrderResult, OrderStatus, OrderUpdate
from brokers.ibkr import mapping
from brokers.ibkr.errors import Effect, effect_of, error_text

Publish = Callable[[OrderUpdate], None]


@dataclass
class OrderRecord:
    """One order, whoever has placed it. `total` is zero where the broker does not say it (completed orders)."""

    account_id: str
    symbol: str
    side: str
    client_order_id: str
    client_id: int = 0
    order_id: int = 0
    permanent_id: int = 0
    total: Decimal = Decimal(0)
    order_type: str = ""
    limit: Decimal | None = None
    word: str = ""
    status_filled: Decimal = Decimal(0)
    status_average: Decimal | None = None
    refused: bool = False
    ended: bool = False
    words: list[str] = field(default_factory=list)
    cancel_refusal: str = ""
    given_up: bool = False  # its acknowledgement was waited for in vain
    executions: dict[str, Execution] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)  # of each execution, counted by its corrections
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    published: OrderResult | None = None

    @property
    def filled(self) -> Decimal:
        """Shares filled, without a sign: statuses and executions each can be ahead."""
        executed = sum((abs(execution.quantity) for execution in self.executions.values()), Decimal(0))
        return max(self.status_filled, executed)

    @property
    def average_price(self) -> Decimal | None:
        """USD a share; exact when every filled share is backed by an execution."""
        executed = sum((abs(execution.quantity) for execution in self.executions.values()), Decimal(0))
        if executed and executed >= self.status_filled:
            value = sum((abs(one.quantity) * one.price_usd for one in self.executions.values()), Decimal(0))
            return value / executed
        return self.status_average

    @property
    def status(self) -> OrderStatus:
        """What is known of it."""
        return mapping.order_status(
            self.word, total=self.total, filled=self.filled, refused=self.refused, ended=self.ended
        )

    @property
    def is_acknowledged(self) -> bool:
        """Whether the broker has said what it makes of the order; Inactive without a reason says nothing yet."""
        if self.word == "Inactive" and not self.words and not self.filled:
            return False
        return self.status not in {OrderStatus.PENDING, OrderStatus.UNKNOWN}

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the broker has taken a cancel, or there is nothing left to cancel."""
        return self.word == "PendingCancel" or self.status.is_terminal

    @property
    def is_proven(self) -> bool:
        """Whether the broker has said anything of it: what was only sent may not exist."""
        return bool(self.permanent_id or self.words or self.filled)

    @property
    def lacks_commission(self) -> bool:
        """Whether the cost of a fill is still to come."""
        return any(execution.commission_usd is None for execution in self.executions.values())

    def result(self) -> OrderResult:
        """The record in the standard values; the permanent id is the order's id, since order ids are used again."""
        permanent_id = str(self.permanent_id) if self.permanent_id else ""
        return OrderResult(
            account_id=self.account_id,
            symbol=self.symbol,
            quantity=mapping.signed(self.side, self.total or self.filled),
            filled_quantity=mapping.signed(self.side, self.filled),
            average_price=self.average_price,
            status=self.status,
            order_id=permanent_id,
            permanent_id=permanent_id,
            client_order_id=self.client_order_id,
            message=" ".join(self.words),
        )

    def open_order(self) -> OpenOrder:
        """The record as a live order."""
        result = self.result()
        return OpenOrder(
            account_id=self.account_id,
            symbol=self.symbol,
            quantity=result.quantity,
            remaining_quantity=result.quantity - result.filled_quantity,
            order_type=mapping.order_type(self.order_type),
            limit_price=self.limit,
            order_id=result.order_id,
            permanent_id=result.permanent_id,
            client_order_id=self.client_order_id,
        )


class OrderTracker:
    """All orders and executions of a connection. It hears the wire and publishes what changes."""

    def __init__(self, client_id: int, publish: Publish) -> None:
        self._client_id = client_id
        self._publish = publish
        self._records: list[OrderRecord] = []
        self._by_permanent_id: dict[int, OrderRecord] = {}
        self._by_order_id: dict[tuple[int, int], OrderRecord] = {}
        self._of_execution: dict[str, OrderRecord] = {}

    # ---- what we do

    def sent(self, order_id: int, contract: Contract, order: Order) -> OrderRecord:
        """Opens the record of an order that is about to go out."""
        record = self._new(contract, order)
        record.client_id, record.order_id = self._client_id, order_id
        self._by_order_id[self._client_id, order_id] = record
        return record

    def with_client_order_id(self, account_id: str, client_order_id: str) -> OrderRecord | None:
        """The order that carries our id; of several, which must not be, the one that most came of."""
        found = [
            record
            for record in self._records
            if (record.account_id, record.client_order_id) == (account_id, client_order_id)
        ]
        return max(found, key=lambda record: (record.filled, bool(record.permanent_id)), default=None)

    def with_permanent_id(self, account_id: str, permanent_id: str) -> OrderRecord | None:
        """The order of the account with the broker's lasting id."""
        record = self._by_permanent_id.get(int(permanent_id)) if permanent_id.isdigit() else None
        return record if record is not None and record.account_id == account_id else None

    def unacknowledged(self) -> list[OrderRecord]:
        """Orders of ours that went out and of which nothing was heard."""
        return [
            record
            for (client_id, _), record in self._by_order_id.items()
            if client_id == self._client_id and not record.is_acknowledged and not record.given_up
        ]

    def of_account(self, account_id: str) -> list[OrderRecord]:
        """All orders of the account that are known."""
        return [record for record in self._records if record.account_id == account_id]

    def executions(self, account_id: str, since: datetime) -> list[Execution]:
        """All that is known, oldest first."""
        found = [
            execution
            for record in self._records
            if record.account_id == account_id
            for execution in record.executions.values()
            if execution.executed_at >= since
        ]
        return sorted(found, key=lambda execution: (execution.executed_at, execution.execution_id))

    def wake_all(self) -> None:
        """Nothing more will be heard: whoever waits shall look."""
        for record in self._records:
            record.heard.set()

    # ---- what the broker says

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> OrderRecord:
        """An order as it stands, after a change or because it was asked for."""
        record = self._find(order.permId, order.clientId, order.orderId, order.orderRef) or self._new(contract, order)
        record.client_id, record.order_id = order.clientId, order.orderId
        if order.orderId > 0:
            self._by_order_id[order.clientId, order.orderId] = record
        record.total = mapping.amount(order.totalQuantity) or record.total
        self._identify(record, order.permId)
        # Its status is a copy that can be behind: it counts only until the first orderStatus.
        if not record.word or record.word in mapping.PENDING_WORDS:
            record.word = state.status or record.word
        self._changed(record)
        return record

    def on_status(
        self, order_id: int, client_id: int, permanent_id: int, word: str, filled: float, average: float
    ) -> None:
        """The broker's word of one order; words that come late do not bring it back to life, and fills only grow."""
        record = self._find(permanent_id, client_id, order_id, None)
        if record is None:
            return
        self._identify(record, permanent_id)
        if word in mapping.LIVE_WORDS:
            record.refused = False  # it lives after all: the side on which an order is not forgotten
        if record.word not in {"Filled", *mapping.CANCELLED_WORDS}:
            record.word = word
        if mapping.amount(filled) >= record.status_filled:
            record.status_filled = mapping.amount(filled)
            record.status_average = mapping.price(average) or record.status_average
        self._changed(record)

    def on_error(self, order_id: int, code: int, brokers_words: str) -> bool:
        """An error that carries an order's number. Says whether it was about an order of ours."""
        record = self._by_order_id.get((self._client_id, order_id))
        if record is None:
            return False
        effect = effect_of(code)
        words = error_text(code, brokers_words)
        if effect is Effect.ABOUT_CANCEL:
            record.cancel_refusal = words
        else:
            record.words.append(words)
            record.refused = record.refused or effect is Effect.REFUSES_ORDER
            record.ended = record.ended or effect is Effect.ENDS_ORDER
        self._changed(record)
        return True

    def on_execution(self, contract: Contract, heard: WireExecution) -> None:
        """One fill, live or asked for; a correction takes the place of what it corrects."""
        record = self._find(heard.permId, heard.clientId, heard.orderId, heard.orderRef)
        if record is None:
            record = OrderRecord(heard.acctNumber, mapping.our_symbol(contract), heard.side, heard.orderRef)
            record.client_id, record.order_id = heard.clientId, heard.orderId
            self._records.append(record)
        self._identify(record, heard.permId)
        key = mapping.execution_key(heard.execId)
        before = record.executions.get(key)
        revision = mapping.execution_revision(heard.execId)
        if revision < record.revisions.get(key, revision):
            return  # what was corrected comes late
        record.revisions[key] = revision
        execution = Execution(
            execution_id=key,
            account_id=heard.acctNumber,
            symbol=mapping.our_symbol(contract),
            quantity=mapping.signed(heard.side, heard.shares),
            price_usd=mapping.exact(heard.price) or Decimal(0),
            commission_usd=before.commission_usd if before else None,
            executed_at=heard.time.astimezone(UTC),
            order_id=str(heard.permId),
            permanent_id=str(heard.permId),
            client_order_id=heard.orderRef,
        )
        record.executions[key] = execution
        self._of_execution[key] = record
        if execution != before:
            self._publish(execution)
        self._changed(record)

    def on_commission(self, report: CommissionReport) -> None:
        """What an execution cost; comes after it."""
        key = mapping.execution_key(report.execId)
        record = self._of_execution.get(key)
        commission = mapping.exact(report.commission)
        if record is None or commission is None or report.currency not in {"USD", ""}:
            return
        before = record.executions[key]
        if before.commission_usd != commission:
            record.executions[key] = before.model_copy(update={"commission_usd": commission})
            self._publish(record.executions[key])
            record.heard.set()

    def on_completed(self, contract: Contract, order: Order, state: OrderState) -> None:
        """An order that has ended; after a reconnect it has no order id and no total."""
        record = self._find(order.permId, 0, 0, order.orderRef) or self._new(contract, order)
        self._identify(record, order.permId)
        record.word = state.status or record.word
        record.ended = True  # whatever its last word was: an order that is completed cannot come to life
        record.status_filled = max(record.status_filled, mapping.amount(order.filledQuantity))
        if state.completedStatus and not record.words and record.status is not OrderStatus.FILLED:
            record.words.append(state.completedStatus)
        self._changed(record)

    # ---- inside

    def _find(self, permanent_id: int, client_id: int, order_id: int, reference: str | None) -> OrderRecord | None:
        """By the lasting id; else by the order id, if nothing speaks against it: order ids are used again."""
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

    def _new(self, contract: Contract, order: Order) -> OrderRecord:
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
        record.heard.set()
        result = record.result()
        if result != record.published:
            record.published = result
            self._publish(result)
