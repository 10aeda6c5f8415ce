"""A gateway that serves the TWS socket protocol to a real client over loopback."""

from tests.support.ibkr_gateway.account_records import AccountRecords, GatewayOrder, Instrument
from tests.support.ibkr_gateway.faults import Kind
from tests.support.ibkr_gateway.server import Gateway, GatewayThread

__all__ = ["AccountRecords", "Gateway", "GatewayOrder", "GatewayThread", "Instrument", "Kind"]
