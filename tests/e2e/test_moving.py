"""Test the migration from ibkr-portfolio-rebalancer with its files, its environment and its events.

Previews are equal where the previous system was correct. docs/migrating.md lists the differences.
"""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.calculator.makers import account, plan, quote, traded
from tests.support.older_system import older_preview

DATA = Path(__file__).parent / "data"
PREPARE = """
from datetime import datetime, UTC
from accounts.models import Account, RebalancePolicy
from accounts.simulated_accounts import ensure_simulated_account
from brokers.simulated.models import SimulatedMarket
RebalancePolicy.objects.filter(is_default=True).update(commission_kind="rate", commission_rate="0.01")
SimulatedMarket.objects.update_or_create(pk=1, defaults=dict(frozen_at=datetime(2026, 11, 24, 15, tzinfo=UTC)))
for account in Account.objects.all():
    account.broker = "simulated"
    account.save()
    ensure_simulated_account(account)
"""
HOLD = """
from brokers.simulated.matching_engine import set_position
from decimal import Decimal
for symbol in ("AAPL", "SPY", "IEF"):
    set_position("U123456", symbol, Decimal({positions}.get(symbol, 0)))
"""
QUOTES = """
import json
from trading.models import RebalanceRun
run = RebalanceRun.objects.order_by("-pk").first()
print(json.dumps([run.quotes, run.snapshot]))
"""
EVENT = """
import json
from trading.inbox.receive import receive_event
event = receive_event(source="ably", channel="etf-blend-200-35", message_id="older-1", payload={payload!r})
print(json.dumps([event.state, event.exec, [run.account.account_id for run in event.runs.all()]]))
"""
SETTINGS = """
import json
from django.conf import settings
print(json.dumps([settings.TRADING_MODE, settings.IB_HOST, settings.IB_PORT, settings.USER_NOTIFICATIONS_CHANNEL,
    settings.REALTIME_API_KEY.get_secret_value(), settings.ALLOCATIONS_API_KEY.get_secret_value()]))
"""


@pytest.fixture(scope="module")
def moved(new_installation, allocations_server, tmp_path_factory):
    """An installation of which nothing is new but the database."""
    allocations_server.reset()
    allocations_server.publish("etf-blend-200-35", [("SPY", 0.4), ("QQQ", 0.2), ("IEF", 0.25), ("GLD", 0.15)])
    environment = tmp_path_factory.mktemp("older") / "older.env"
    environment.write_text((DATA / "older.env").read_text().replace("@ALLOCATIONS_BASE_URL@", allocations_server.url))
    site = new_installation(REBALANCER_ENV_FILE=str(environment))
    del site.environment["TRADING_MODE"]  # the file has it
    site.manage("import_replacement_sets", DATA / "replacement-sets.yaml")
    site.manage("import_accounts", DATA / "accounts.example.yaml")
    site.python(PREPARE)
    return site


def preview(site):
    """The new preview, and the older one of the same account at the same quotes."""
    run = json.loads(site.manage("rebalance", "U123456", "--json").stdout)
    assert run["state"] == "completed", run
    rows, snapshot = json.loads(site.python(QUOTES))
    quotes = {row["symbol"]: (Decimal(row["bid"]), Decimal(row["ask"])) for row in rows}
    holdings = {row["symbol"]: Decimal(row["quantity"]) for row in snapshot["positions"] if Decimal(row["quantity"])}
    weights = [(symbol, Decimal(weight)) for symbol, weight in WEIGHTS]
    older = older_preview(Decimal(snapshot["cash_usd"]), holdings, weights, quotes)
    return {trade["symbol"]: int(Decimal(trade["quantity"])) for trade in run["trades"]}, older


WEIGHTS = [("SPY", "0.4"), ("QQQ", "0.2"), ("IEF", "0.25"), ("GLD", "0.15")]


def test_the_environment_file_is_read_as_it_is(moved):
    mode, host, port, channel, realtime, allocations = json.loads(moved.python(SETTINGS))
    assert (mode, host, port, channel) == ("paper", "ib-gateway", 4004, "rebalances-of-mine")
    assert (realtime, allocations) == ("app.key:of-the-older-system", "key-of-the-older-system")


def test_the_events_are_read_as_they_are(moved):
    payload = json.dumps(
        {
            "exec": "print-rebalance",
            "event_id": "e-17",
            "times_queued": 1,
            "created_at": "2026-11-25T14:30:00Z",
            "data": {},
        }
    )
    state, command, accounts = json.loads(moved.python(EVENT.format(payload=payload)))
    assert (state, command, accounts) == ("accepted", "print-rebalance", ["U123456"])


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ({}, {"SPY", "QQQ", "IEF", "GLD"}),  # all in cash: the same buys
        ({"AAPL": 2, "SPY": 20, "IEF": 100}, {"AAPL", "SPY", "QQQ", "IEF", "GLD"}),  # what is no target is sold
    ],
    ids=["all in cash", "a stranger is held"],
)
def test_the_preview_is_the_same_where_the_older_one_was_right(moved, positions, expected):
    moved.python(HOLD.format(positions=positions))
    new, older = preview(moved)
    assert set(new) == set(older) == expected
    for symbol, shares in older.items():
        # Rounding down leaves money over; the new plan spends it, which moves a symbol by a few shares at most.
        assert (new[symbol] > 0) == (shares > 0)
        assert abs(new[symbol] - shares) <= max(2, abs(shares) // 50), symbol
    assert all(new[symbol] == shares for symbol, shares in older.items() if shares < 0)


# ---- where it differs: the older preview, and ours


POLICY = {
    "buy_slippage_percent": "0.5",
    "sell_slippage_percent": "0.5",
    "band_percent": "0.5",
    "commission": None,
    "cash_reserve_percent": "0.5",
    "min_cash_usd": "100",
}


def both(cash, holdings, weights, quotes, **policy):
    """The older preview and the new plan of one account, in the older system's defaults."""
    from calculator import AllocationItem, Commission

    quotes = {symbol: tuple(map(Decimal, pair)) for symbol, pair in quotes.items()}
    weights = [(symbol, Decimal(weight)) for symbol, weight in weights]
    shares = {symbol: Decimal(quantity) for symbol, quantity in holdings.items()}
    older = older_preview(Decimal(cash), shares, weights, quotes)
    positions = [(symbol, quantity, sum(quotes[symbol]) / 2) for symbol, quantity in shares.items()]
    rows = [quote(symbol, bid, ask) for symbol, (bid, ask) in quotes.items()]
    wanted = [AllocationItem(symbol=symbol, weight=weight) for symbol, weight in weights]
    fields = {key: value for key, value in POLICY.items() if value is not None} | policy
    return older, lambda: plan(account(cash, *positions), wanted, rows, commission=Commission(), **fields)


def test_the_older_preview_buys_nothing_with_the_money_of_the_sells():
    older, new = both(
        "150", {"AAA": "200"}, [("AAA", "0.5"), ("BBB", "0.5")], {"AAA": ("100", "100"), "BBB": ("50", "50")}
    )
    assert older["AAA"] < 0
    assert older["BBB"] <= 2
    trades = traded(new())
    assert trades["AAA"] < 0
    assert trades["BBB"] > 150


def test_the_older_preview_ignores_the_reserve_of_the_account():
    older, new = both("10000", {}, [("AAA", "1")], {"AAA": ("10", "10")}, cash_reserve_percent="10")
    assert older["AAA"] * 10 > 9500
    assert traded(new())["AAA"] * 10 <= 9000


def test_the_older_preview_sells_everything_for_an_empty_list():
    older, new = both("1000", {"AAA": "10"}, [], {"AAA": ("100", "100")})
    assert older == {"AAA": -10}
    with pytest.raises(Exception, match="no targets"):
        new()


def test_the_older_preview_sells_a_share_of_which_a_part_is_held():
    older, new = both(
        "10000", {"AAA": "0.7", "BBB": "50"}, [("BBB", "0.33")], {"AAA": ("100", "100"), "BBB": ("100", "100")}
    )
    assert older["AAA"] == -1
    assert "AAA" not in traded(new())


def test_the_older_preview_lets_the_last_of_two_rows_win():
    older, new = both("10000", {}, [("AAA", "0.5"), ("AAA", "0.1")], {"AAA": ("10", "10")})
    assert older["AAA"] < 101
    with pytest.raises(Exception, match="AAA"):
        new()


def test_the_older_preview_trades_on_a_crossed_quote():
    older, new = both("10000", {}, [("AAA", "0.09"), ("BBB", "0.9")], {"AAA": ("12", "8"), "BBB": ("10", "10")})
    assert older["AAA"] > 0
    assert "AAA" not in traded(new())


def test_the_older_preview_leaves_a_deposit_idle_when_every_symbol_is_inside_its_band():
    symbols = [f"S{number}" for number in range(50)]
    quotes = dict.fromkeys(symbols, ("10", "10"))
    holdings = dict.fromkeys(symbols, "100")
    older, new = both("12000", holdings, [(symbol, "0.02") for symbol in symbols], quotes)
    assert older == {}
    assert sum(traded(new()).values()) > 500
