"""Symbols with several contracts, in positions and in targets."""

import asyncio
from decimal import Decimal
from functools import partial

import pytest

from tests.support.ibkr_accounts import assert_runs_are_resolved, gateway_account
from tests.trading.engine.ibkr_data.conftest import DU, carry_out, codes, message, preview, trades
from trading.models import ContractChoice

pytestmark = pytest.mark.django_db(transaction=True)


# ---- one symbol under two contracts


@pytest.mark.parametrize("smart", [False, True], ids=["not routed", "routed"])
def test_second_contract_of_a_symbol_is_counted_and_neither_matched_nor_sold(book, gateway, smart):
    """10 MSFT at NASDAQ and 90 at EBS, both in USD, are not 100: for a target of 30 % of 20,000 nothing is sold."""
    nasdaq = book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=smart)
    book.accounts[DU].positions = {nasdaq.con_id: Decimal(10), ebs.con_id: Decimal(90)}
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(10_000)
    run = carry_out(gateway_account(DU, {"MSFT": "0.3", "IEF": "0.7"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert {order.action for order in book.orders} == {"BUY"}
    assert {order.instrument.con_id for order in book.orders} <= {nasdaq.con_id, book.stock("IEF").con_id}
    assert book.accounts[DU].positions[ebs.con_id] == 90
    assert 10 <= book.accounts[DU].positions[nasdaq.con_id] <= 60
    assert str(ebs.con_id) in message(run, "other_contract_held")
    assert {item["symbol"]: item["reason"] for item in run.result["not_traded"]}[str(ebs.con_id)] == "other_contract"
    assert_runs_are_resolved(book)


def test_position_in_another_contract_only_does_not_count_towards_the_target(book, gateway):
    book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=False)
    book.accounts[DU].positions = {ebs.con_id: Decimal(500)}
    run = preview(gateway_account(DU, {"MSFT": "0.4", "IEF": "0.6"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert 190 <= trades(run)["MSFT"] <= 200


def test_second_contract_that_is_no_target_is_not_sold_with_the_first(book, gateway):
    nasdaq = book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=False)
    book.accounts[DU].positions = {nasdaq.con_id: Decimal(10), ebs.con_id: Decimal(90)}
    run = carry_out(gateway_account(DU, {"IEF": "0.5"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert [(order.instrument.con_id, order.total) for order in book.orders if order.action == "SELL"] == [
        (nasdaq.con_id, 10)
    ]
    assert_runs_are_resolved(book)


# ---- contracts


@pytest.mark.parametrize("foreign", ["LSEETF", "EBS", "PINK"])
def test_symbol_with_one_us_listing_is_traded_there(book, gateway, foreign):
    book.add_instrument("KWEB", bid="19", ask="19.01", primary_exchange=foreign)
    us = book.add_instrument("KWEB", bid="30", ask="30.01", primary_exchange="ARCA")
    run = carry_out(gateway_account(DU, {"SPY": "0.5", "KWEB": "0.4"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert {order.instrument.con_id for order in book.orders if order.instrument.symbol == "KWEB"} == {us.con_id}
    assert_runs_are_resolved(book)


def test_symbol_with_two_us_listings_is_refused_by_name_until_a_user_chooses(book, gateway):
    first, second = (book.add_instrument("KWEB", primary_exchange=exchange) for exchange in ("ARCA", "BATS"))
    account = gateway_account(DU, {"SPY": "0.5", "KWEB": "0.4"})
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "unknown_symbol")
    assert f"{first.con_id} on ARCA, {second.con_id} on BATS" in run.error_message
    choice = ContractChoice.objects.create(broker="ibkr", symbol="KWEB", contract_id=str(second.con_id))
    assert carry_out(account).state == "completed"
    assert {order.instrument.con_id for order in book.orders if order.instrument.symbol == "KWEB"} == {second.con_id}
    choice.delete()
    assert preview(account).error_code == "unknown_symbol", "the contract of the day is not used without the choice"


def test_position_in_the_contract_that_was_not_chosen_is_not_sold(book, gateway):
    first, second = (book.add_instrument("KWEB", primary_exchange=exchange) for exchange in ("ARCA", "BATS"))
    ContractChoice.objects.create(broker="ibkr", symbol="KWEB", contract_id=str(second.con_id))
    book.accounts[DU].positions = {first.con_id: Decimal(100), second.con_id: Decimal(50)}
    run = preview(gateway_account(DU, {"SPY": "0.5"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert trades(run)["KWEB"] == -50
    assert "other_contract_held" in codes(run)


@pytest.mark.parametrize(("symbol", "hint"), [("BRK-B", "BRK.B"), ("NOSUCH", "no contract")])
def test_symbol_that_is_unknown_is_refused_with_the_reason(book, gateway, symbol, hint):
    book.add_instrument("BRK B", primary_exchange="NYSE")
    run = preview(gateway_account(DU, {"SPY": "0.5", symbol: "0.4"}))
    assert (run.state, run.error_code) == ("refused", "unknown_symbol")
    assert f"{symbol} (" in run.error_message and hint in run.error_message


@pytest.mark.parametrize("announced", [True, False])
def test_security_definitions_that_return_within_seconds_do_not_refuse_a_symbol(account, gateway, announced):
    gateway.do(partial(gateway.gateway.lose_definitions, announced=announced))
    gateway.do(lambda: asyncio.get_running_loop().call_later(0.6, gateway.gateway.restore_definitions))
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")


def test_security_definitions_that_stay_away_fail_the_run_as_a_connection_problem(account, gateway):
    gateway.do(gateway.gateway.lose_definitions)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "broker_silent")
