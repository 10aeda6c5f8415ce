"""Quotes that are missing, refused or halted: each symbol has its reason."""

from decimal import Decimal

import pytest
from django.utils import timezone

from brokers.exchange_calendar import NEW_YORK
from tests.support.ibkr_accounts import gateway_account
from tests.support.ibkr_gateway import Kind
from tests.trading.engine.ibkr_data.conftest import DU, carry_out, message, preview, trades

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("kind", "fields", "detail"),
    [
        (Kind.QUOTE_ERROR, {"code": 354}, "IBKR 354"),
        (Kind.QUOTE_ERROR, {"code": 10089}, "IBKR 10089"),
        (Kind.QUOTE_ERROR, {"code": 10197}, "IBKR 10197"),
        (Kind.DELAYED_QUOTE, {}, "IBKR 10167"),
        (Kind.EMPTY_QUOTE, {}, "neither bid nor ask"),
        (Kind.ONE_SIDED_QUOTE, {}, "no valid bid and ask"),
        (Kind.WIDE_QUOTE, {}, "spread of IEF is"),
        (Kind.FARM_LOST, {}, "IBKR 2103"),
    ],
)
def test_plan_without_a_quote_is_refused_with_the_reason_of_the_symbol(account, gateway, kind, fields, detail):
    gateway.fault(kind, symbol="IEF", **fields)
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "too_much_frozen")
    assert "IEF" in run.error_message and detail in run.error_message
    assert "market is open" not in run.error_message


def test_share_of_the_account_without_quotes_never_exceeds_all_of_it(book, gateway):
    """All of the account is in GLD, which is no target, and the targets have no quotes either."""
    book.accounts[DU].positions = {book.stock("GLD").con_id: Decimal(1000)}
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(10)
    for symbol in ("GLD", "IEF"):
        gateway.fault(Kind.EMPTY_QUOTE, symbol=symbol)
    run = preview(gateway_account(DU, {"SPY": "0.1", "IEF": "0.9"}))
    assert run.error_code == "too_much_frozen"
    assert run.error_message.startswith("100.0%")


def test_position_without_a_contract_is_frozen_with_the_reason(account, book):
    """A delisted stock is still held, and the broker finds no contract for it any more."""
    gone = book.add_instrument("GONE", smart=False)
    book.accounts[DU].positions[gone.con_id] = Decimal(1)
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert "GONE" in message(run, "quote_missing") and "no contract" in message(run, "quote_missing")
    assert "GONE" not in trades(run)


@pytest.mark.parametrize("status", [1, 2])
def test_halted_symbol_is_not_traded_and_named(book, gateway, status):
    book.stock("GLD").halted = status
    run = carry_out(gateway_account(DU, {"SPY": "0.5", "IEF": "0.45", "GLD": "0.05"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert "GLD" in message(run, "symbol_halted")
    assert {order.instrument.symbol for order in book.orders} == {"IEF"}


def test_position_without_a_row_of_the_broker_is_valued_at_its_quote(account, book):
    book.accounts[DU].without_row = {book.stock("SPY").con_id}
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")


def test_position_without_a_row_and_a_quote_is_named(account, book, gateway):
    book.accounts[DU].without_row = {book.stock("SPY").con_id}
    gateway.fault(Kind.MISSING_QUOTE, symbol="SPY")
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "account_data_mismatch")
    assert "SPY" in run.error_message


def test_every_quote_refused_fails_the_run_with_the_symbols_of_each_reason(account, gateway):
    gateway.fault(Kind.QUOTE_ERROR, symbol="SPY", code=354)
    gateway.fault(Kind.QUOTE_ERROR, symbol="IEF", code=10197)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "market_data_unavailable")
    assert "SPY: IBKR 354" in run.error_message and "IEF: IBKR 10197" in run.error_message


def test_symbol_whose_exchange_is_closed_is_named_in_the_refusal(account, book, monkeypatch):
    monkeypatch.setattr("trading.planning.inputs.never_closes", lambda _: False)
    book.stock("IEF").hours = f"{timezone.now().astimezone(NEW_YORK):%Y%m%d}:CLOSED"
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "too_much_frozen")
    assert "exchange of IEF is closed" in run.error_message
