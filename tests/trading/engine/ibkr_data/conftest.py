"""A gateway on loopback whose accounts, contracts and quotes are as a real gateway reports them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from accounts.models import Account, RebalancePolicy
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support import makers
from tests.support.ibkr_accounts import gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayThread
from trading.common.timings import Timings
from trading.models import RebalanceRun
from trading.models.run_documents import ExecCommand

DU = "DU1000001"
TIMINGS = Timings(
    reconnect_delay_seconds=0.05,
    cancel_seconds=1.0,
    positions_seconds=1.0,
    order_silence_seconds=0.3,
    quotes_seconds=1.0,
)
carry_out = partial(makers.carry_out, timings=TIMINGS)
preview = partial(makers.carry_out, command=ExecCommand.PRINT_REBALANCE, timings=TIMINGS)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    limits = Limits(
        values_lag_seconds=0.1,
        values_retry_seconds=0.05,
        connect_retry_seconds=0.1,
        max_definitions_wait_seconds=0.3,
        definitions_retry_seconds=0.05,
    )
    monkeypatch.setattr(InteractiveBrokers, "limits", limits)


@pytest.fixture
def book() -> AccountRecords:
    """An account with 50,000 USD and 500 SPY at 100 USD."""
    book = AccountRecords()
    for symbol in ("SPY", "IEF", "GLD"):
        book.add_instrument(symbol)
    book.add_account(DU, cash="50000", positions={"SPY": "500"})
    return book


@pytest.fixture
def gateway(book: AccountRecords, settings: Any) -> Iterator[GatewayThread]:
    with GatewayThread(book) as gateway:
        settings.IB_PORT = gateway.port
        yield gateway


@pytest.fixture
def account(gateway: GatewayThread) -> Account:
    return gateway_account(DU, {"SPY": "0.6", "IEF": "0.4"})


def codes(run: RebalanceRun) -> set[str]:
    return {warning["code"] for warning in run.warnings}


def message(run: RebalanceRun, code: str) -> str:
    return " ".join(warning["message"] for warning in run.warnings if warning["code"] == code)


def trades(run: RebalanceRun) -> dict[str, int]:
    return {trade["symbol"]: trade["quantity"] for trade in run.result["trades"]}
