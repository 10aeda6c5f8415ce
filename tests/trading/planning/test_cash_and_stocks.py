"""Cash and the stocks that are listed as CASH and USD, side by side: in plans, reports, standings and pages."""

import re
from decimal import Decimal
from html import unescape
from types import SimpleNamespace

import pytest
from django.urls import reverse
from pydantic import ValidationError

from accounts.models import ReplacementRule, ReplacementSet, Strategy
from brokers.simulated.models import SimulatedInstrument
from calculator import AllocationItem, Position
from calculator.plan_types import CASH
from tests.calculator.makers import account, plan, quote, targets
from tests.support.makers import carry_out, held, strategy
from trading.models import AccountStanding
from trading.models.run_documents import ExecCommand, stored_weights
from trading.pages.holdings import holdings_of
from trading.pages.plan_tables import weight_rows
from trading.planning.standing_basis import read_bases
from trading.schedule.drift import is_outside_band

STOCKS = {"CASH": "0.3", "USD": "0.3", "SPY": "0.3"}
MEANT = {"cash_like_stocks": "CASH, USD"}


@pytest.fixture
def listed(still_market):
    """List the stocks CASH and USD on the simulated market."""
    for symbol in ("CASH", "USD"):
        SimulatedInstrument.objects.create(
            symbol=symbol, name=f"{symbol} Inc.", asset_class="US shares", base_price_usd=70
        )


@pytest.mark.parametrize("kind", [AllocationItem, Position])
def test_no_symbol_has_the_key_of_cash(kind):
    fields = {"weight": Decimal(1)} if kind is AllocationItem else {"quantity": Decimal(1)}
    with pytest.raises(ValidationError):
        kind(symbol=CASH, **fields)


def test_plan_lists_cash_beside_stocks_of_that_name():
    state = account("2500", ("CASH", "50", "70"), ("USD", "50", "80"))
    quotes = [quote("CASH", "70"), quote("USD", "80")]
    result = plan(state, targets(CASH="0.35", USD="0.24"), quotes, one_share=False)
    assert result.before.weights == {"CASH": Decimal("0.35"), "USD": Decimal("0.4"), CASH: Decimal("0.25")}
    assert result.target_weights == {"CASH": Decimal("0.35"), "USD": Decimal("0.24"), CASH: Decimal("0.41")}
    assert result.expected.weights == result.target_weights


@pytest.mark.parametrize("mode", list(ExecCommand))
def test_run_with_stocks_named_like_cash_reports_them_beside_cash(listed, make_account, mode):
    """What is stored sums to the whole account: nothing is merged with cash or lost."""
    blend = strategy("blend", STOCKS, **MEANT)
    run = carry_out(make_account(strategy=blend), mode)
    assert (run.state, run.error_code) == ("completed", "")
    weights = [stored_weights(run.result[part]["weights"]) for part in ("before", "expected")]
    weights += [stored_weights(run.result["target_weights"])]
    if mode == ExecCommand.REBALANCE:
        weights.append(stored_weights(run.report["weights_after"]))
        assert set(held("U1")) == set(STOCKS)
    for each in weights:
        assert abs(sum(each.values()) - 1) < Decimal("0.001")
        assert CASH in each
    assert {trade["symbol"] for trade in run.result["trades"]} == set(STOCKS)
    assert Decimal(run.result["target_weights"]["CASH"]) > Decimal("0.2")
    rows = {row.symbol: row for row in weight_rows(run)}
    assert [row.label for row in rows.values()][-1] == "Cash"
    assert [row.symbol for row in rows.values() if row.is_cash] == [CASH]
    assert rows["CASH"].is_target and rows["CASH"].colour != rows[CASH].colour == "rb-cash"
    standing = AccountStanding.objects.get()
    holdings = holdings_of(standing, read_bases([run.account])[run.account_id], {})
    assert {row.label for row in holdings.drift.rows} == {*STOCKS, "Cash"}
    assert {symbol for symbol, _ in standing.weights} >= {CASH}


def test_pages_show_the_stock_and_cash_in_two_rows(listed, make_account, admin_client):
    """Every page and download of an account that holds the stock CASH."""
    run = carry_out(make_account(strategy=strategy("blend", STOCKS, **MEANT)), ExecCommand.REBALANCE)
    for name, arguments in (("account", ["U1"]), ("run", [run.run_id]), ("strategy", ["blend"]), ("dashboard", [])):
        answer = admin_client.get(reverse(f"trading:{name}", args=arguments))
        page = re.sub(r"\s+", " ", unescape(answer.content.decode()))
        assert answer.status_code == 200
        assert re.search(r"\bCASH\b", page) and re.search(r"\bCash\b", page) and CASH not in page
    answer = admin_client.get(reverse("trading:trades_csv", args=[run.run_id]))
    assert {line.split(",")[0] for line in answer.content.decode().splitlines()[1:]} == set(STOCKS)


def test_drift_of_a_stock_named_like_cash_counts_and_that_of_cash_too():
    def run(before, target):
        result = {"trades": [1], "before": {"weights": before}, "target_weights": target}
        return SimpleNamespace(result=result, policy={"allocation_threshold_percent": "1"})

    assert is_outside_band(run({"CASH": "0.5", CASH: "0.5"}, {"CASH": "0.4", CASH: "0.6"}))
    assert is_outside_band(run({"SPY": "0.5", CASH: "0.5"}, {"SPY": "0.5", CASH: "0.4"}))
    assert is_outside_band(run({"SPY": "0.5", "CASH": "0.5"}, {"SPY": "0.5", "CASH": "0.4"}))  # stored before
    assert not is_outside_band(run({"SPY": "0.5", "CASH": "0.5"}, {"SPY": "0.5", CASH: "0.5"}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"CASH": "1"}, {CASH: Decimal(1)}),
        ({"SPY": "0.5", "CASH": "0.5"}, {"SPY": Decimal("0.5"), CASH: Decimal("0.5")}),
        ({"CASH": "0.4", CASH: "0.6"}, {"CASH": Decimal("0.4"), CASH: Decimal("0.6")}),
        ({}, {}),
        (None, {}),
    ],
)
def test_stored_weights_of_older_runs_have_cash_under_its_key(content, expected):
    assert stored_weights(content) == expected


def test_run_of_targets_named_like_cash_is_refused_unless_the_stock_is_meant(listed, make_account):
    blend = strategy("blend", STOCKS)
    run = carry_out(make_account(strategy=blend))
    assert (run.state, run.error_code, held("U1")) == ("failed", "allocations_cash_name", {})
    Strategy.objects.update(**MEANT)
    assert carry_out(run.account).state == "completed"


def test_run_with_a_replacement_by_cash_is_refused_unless_the_stock_is_meant(listed, make_account):
    """A rule "IEF becomes CASH" may mean cash, too."""
    rules = ReplacementSet.objects.create(name="safe")
    ReplacementRule.objects.create(replacement_set=rules, source="IEF", target="CASH")
    run = carry_out(make_account(replacement_set=rules))
    assert (run.state, run.error_code, held("U1")) == ("refused", "allocations_cash_name", {})
    Strategy.objects.update(cash_like_stocks="CASH")
    assert carry_out(run.account).state == "completed"


def test_positions_named_like_cash_that_are_no_targets_are_sold_as_stocks(listed, make_account):
    owner = make_account(positions=(("CASH", "10"), ("USD", "5")))
    run = carry_out(owner)
    assert run.state == "completed"
    assert {(t["symbol"], t["quantity"]) for t in run.result["trades"] if t["quantity"] < 0} == {
        ("CASH", -10),
        ("USD", -5),
    }
