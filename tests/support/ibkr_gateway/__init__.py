"""A gateway that speaks the TWS socket protocol to a real client over loopback."""

from tests.support.ibkr_gateway.book import Book, BookedOrder, Instrument
from tests.support.ibkr_gateway.faults import Kind
from tests.support.ibkr_gateway.server import Gateway, GatewayThread

__all__ = ["Book", "BookedOrder", "Gateway", "GatewayThread", "Instrument", "Kind"]
