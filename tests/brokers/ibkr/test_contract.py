"""The connector passes the contract suite over a socket, with the real client library."""

import pytest

from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.contract import ConnectorContract, Harness
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import Kind

FAULTS = {
    "reject": Kind.REJECT,
    "silent": Kind.SILENT,
    "lost": Kind.LOST,
    "drop": Kind.DROP_BEFORE,
    "partial": Kind.PARTIAL,
    "missing_quote": Kind.MISSING_QUOTE,
}


class GatewayHarness(Harness):
    account_id = ACCOUNT

    def __init__(self, gateway):
        self.gateway = gateway

    def client(self, price_cache=None):
        settings = connection_settings(
            self.gateway, connection_timeout_seconds=2, request_timeout_seconds=1, quote_timeout_seconds=0.3
        )
        return InteractiveBrokers(settings, price_cache)

    def fault(self, what, symbol=""):
        if what == "mute":
            self.gateway.do(setattr, self.gateway.gateway, "muted", True)
        else:
            self.gateway.fault(FAULTS[what], symbol=symbol)

    def orders_at_the_broker(self, client_order_id):
        return len(self.gateway.records.orders_with(client_order_id))


class TestContract(ConnectorContract):
    @pytest.fixture
    def harness(self, gateway):
        return GatewayHarness(gateway)
