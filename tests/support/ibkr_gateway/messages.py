"""Messages of the gateway, field by field, in server version 178."""

from collections.abc import Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.support.ibkr_gateway.account_records import Fill, GatewayOrder, Instrument

Message = list[object]

SERVER_VERSION = 178
NEW_YORK = ZoneInfo("America/New_York")
NOTHING = ""


def blanks(count: int) -> Message:
    return [NOTHING] * count


def managed_accounts(account_ids: Sequence[str]) -> Message:
    return ["15", "1", ",".join(account_ids) + ","]


def next_valid_id(order_id: int) -> Message:
    return ["9", "1", order_id]


def error(request_id: int, code: int, message: str) -> Message:
    return ["4", "2", request_id, code, message, NOTHING]


def current_time(seconds: int) -> Message:
    return ["49", "1", seconds]


def position(account_id: str, instrument: Instrument, quantity: Decimal, average_cost: Decimal) -> Message:
    return ["61", "3", account_id, instrument.con_id, *instrument.contract, quantity, average_cost]


def position_end() -> Message:
    return ["62", "1"]


def account_value(account_id: str, tag: str, value: object, currency: str) -> Message:
    return ["6", "2", tag, value, currency, account_id]


def account_value_multi(request_id: int, account_id: str, tag: str, value: object, currency: str) -> Message:
    return ["73", "1", request_id, account_id, NOTHING, tag, value, currency]


def account_values_multi_end(request_id: int) -> Message:
    return ["74", "1", request_id]


def portfolio(account_id: str, instrument: Instrument, quantity: Decimal, average_cost: Decimal) -> Message:
    multiplier = Decimal(instrument.multiplier or 1)
    value = Decimal(0) if instrument.sec_type == "CASH" else quantity * instrument.mark * multiplier
    gain = value - quantity * average_cost
    return [
        *("7", "8", instrument.con_id, *instrument.contract),
        *(quantity, instrument.mark, value, average_cost, gain, 0, account_id),
    ]


def account_time(clock: str) -> Message:
    return ["8", "1", clock]


def account_download_end(account_id: str) -> Message:
    return ["54", "1", account_id]


def contract_details(request_id: int, instrument: Instrument) -> Message:
    exchanges = f"SMART,{instrument.primary_exchange},NYSE"
    return [
        *("10", request_id, instrument.symbol, instrument.sec_type, instrument.expiry, instrument.strike),
        *(instrument.right, "SMART", instrument.currency, instrument.symbol, instrument.symbol, instrument.symbol),
        *(instrument.con_id, instrument.min_tick, instrument.multiplier, "LMT,MKT", exchanges, 1, 0),
        *(f"{instrument.symbol} FUND", instrument.primary_exchange, NOTHING, NOTHING, NOTHING, NOTHING),
        *(instrument.time_zone, instrument.hours, instrument.hours, NOTHING, NOTHING, 0, 1, NOTHING, NOTHING),
        *(f"{instrument.market_rule},{instrument.market_rule},{instrument.market_rule}", NOTHING, "ETF"),
        *("0.0001", "0.0001", "100"),
    ]


def contract_details_end(request_id: int) -> Message:
    return ["52", "1", request_id]


def market_rule(rule_id: int, steps: Sequence[tuple[str, str]]) -> Message:
    return ["93", rule_id, len(steps), *(field for step in steps for field in step)]


def tick_parameters(request_id: int, instrument: Instrument) -> Message:
    return ["81", request_id, instrument.min_tick, "9c0001", 3]


def market_data_type(request_id: int, number: int) -> Message:
    return ["58", "1", request_id, number]


def tick_price(request_id: int, tick_type: int, price: Decimal, size: int) -> Message:
    return ["1", "6", request_id, tick_type, price, size, 0]


def tick_size(request_id: int, tick_type: int, size: int) -> Message:
    return ["2", "6", request_id, tick_type, size]


def tick_generic(request_id: int, tick_type: int, value: int) -> Message:
    return ["45", "6", request_id, tick_type, value]


def order_status(order: GatewayOrder, status: str | None = None) -> Message:
    last = order.fills[-1].price if order.fills else 0
    return [
        *("3", order.order_id, status or order.status, order.filled, order.remaining, order.average),
        *(order.perm_id, 0, last, order.client_id, NOTHING, 0),
    ]


def open_order(
    order: GatewayOrder,
    status: str | None = None,
    what_if: tuple[object, object, object, Decimal, str] | None = None,
) -> Message:
    """Return an open order. `what_if` has margin change, margin after, equity, commission and warning."""
    margins: Message = blanks(9)
    commission: object = NOTHING
    warning = NOTHING
    if what_if is not None:
        change, after, equity, commission, warning = what_if
        margins = ["0.0", "0.0", equity, change, change, "0.0", after, after, equity]
    instrument = order.instrument
    return [
        *("5", order.order_id, instrument.con_id, *instrument.head, "SMART", instrument.currency),
        *(instrument.symbol, instrument.symbol, order.action, order.total, order.order_type),
        *(order.limit if order.limit is not None else 0, 0, order.tif, NOTHING, order.account_id, NOTHING, 0),
        *(order.ref, order.client_id, order.perm_id, 0, 0, 0, NOTHING, NOTHING),
        *blanks(3),  # faGroup, faMethod, faPercentage
        *blanks(29),  # modelCode .. deltaNeutralAuxPrice
        *blanks(7),  # continuousUpdate .. comboLegsDescrip
        *(0, 0, 0),  # legs, order legs, routing parameters
        *blanks(3),  # scale
        *blanks(5),  # hedgeType .. notHeld
        *(0, NOTHING),  # no delta neutral contract, no algorithm
        *(0, what_if is not None, status or order.status, *margins),
        *(commission, commission, commission, "USD", warning, 0, 0),
        0,  # conditions
        *blanks(16),  # adjustedOrderType .. usePriceMgmtAlgo
        *blanks(3),  # duration, postToAts, autoCancelParent
        *blanks(5),  # minTradeQty .. midOffsetAtHalf
    ]


def open_orders_end() -> Message:
    return ["53", "1"]


def completed_order(order: GatewayOrder) -> Message:
    """Return a completed order as after a reconnect: without an order id, and with a total of zero."""
    instrument = order.instrument
    ended = order.fills[-1].at if order.fills else None
    stamp = ended.astimezone(NEW_YORK).strftime("%Y%m%d %H:%M:%S US/Eastern") if ended else NOTHING
    return [
        *("101", instrument.con_id, *instrument.head, "SMART", instrument.currency),
        *(instrument.symbol, instrument.symbol, order.action, 0, order.order_type),
        *(order.limit if order.limit is not None else 0, 0, order.tif, NOTHING, order.account_id, NOTHING, 0),
        *(order.ref, order.perm_id, 0, 0, 0, NOTHING),
        *blanks(3),  # faGroup, faMethod, faPercentage
        *blanks(23),  # modelCode .. deltaNeutralAuxPrice
        *blanks(5),  # continuousUpdate .. comboLegsDescrip
        *(0, 0, 0),
        *blanks(3),  # scale
        *blanks(4),  # hedgeType .. notHeld
        *(0, NOTHING),
        *(0, order.status, 0, 0),
        0,  # conditions
        *blanks(6),  # trailStopPrice .. autoCancelDate
        order.filled,
        *blanks(6),  # refFuturesConId .. parentPermId
        *(stamp, order.reason or order.status),
        *blanks(5),
    ]


def completed_orders_end() -> Message:
    return ["102"]


def execution(request_id: int, order: GatewayOrder, fill: Fill, stamp: str) -> Message:
    instrument = order.instrument
    return [
        *("11", request_id, order.order_id, instrument.con_id, *instrument.head, instrument.primary_exchange),
        *(instrument.currency, instrument.symbol, instrument.symbol, fill.execution_id, stamp, order.account_id),
        *(instrument.primary_exchange, "BOT" if order.action == "BUY" else "SLD", fill.quantity, fill.price),
        *(order.perm_id, order.client_id, 0, fill.cumulative, fill.average, order.ref, NOTHING, NOTHING),
        *(NOTHING, 1, 0),
    ]


def executions_end(request_id: int) -> Message:
    return ["55", "1", request_id]


def commission_report(fill: Fill, realized: str = "1.7976931348623157E308") -> Message:
    return ["59", "1", fill.execution_id, fill.commission, "USD", realized, "1.7976931348623157E308", NOTHING]
