"""The dashboard, account and strategy pages state only what is known of an account."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, ReplacementRule, ReplacementSet, TargetAllocation
from brokers.simulated.models import SimulatedAccount
from tests.support.makers import carry_out, policy, simulated_account, strategy
from trading.models import AccountRefresh, AccountStanding, AccountValue, ProcessHeartbeat, StandingState, TotalValue
from trading.models.run_documents import ExecCommand
from trading.pages.account_facts import preview_obstacle
from trading.pages.history import total_chart

pytestmark = pytest.mark.django_db
VIEWER = ("view_account", "view_strategy")
TRADER = (*VIEWER, "preview_account", "execute_account")
CLAIMS = ("rb-good", "✓", "no trades", "nothing needs doing")
"""What a page says only of an account that was compared with today's targets and is inside its band."""


@pytest.fixture
def enter(client):
    def log_in(*permissions):
        user = User.objects.create_user(f"u{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)

    return log_in


@pytest.fixture(autouse=True)
def every_day_is_a_session(settings):
    settings.MARKET_CALENDAR = "always_open"


def page(client, name, *arguments):
    answer = client.get(reverse(f"trading:{name}", args=arguments))
    assert answer.status_code == 200
    return answer


def main_part(answer):
    """The page without its frame."""
    return answer.content.decode().partition("<main")[2]


def standing(account, state, **fields):
    values = {
        "as_of": timezone.now(),
        "total_value_usd": 1000,
        "cash_usd": 100,
        "weights": [["SPY", "0.9"], ["$CASH", "0.1"]],
        "state": state,
    }
    return AccountStanding.objects.update_or_create(account=account, defaults=values | fields)[0]


# ---- what is not known is not shown as fine


def test_dashboard_of_unchecked_accounts_counts_them_and_claims_nothing(client, enter):
    enter(*TRADER)
    for name in ("A1", "A2", "A3"):
        simulated_account(name, {"SPY": "1"})
    standing(Account.objects.get(account_id="A3"), StandingState.UNKNOWN, reason="The account has a short position.")
    answer = page(client, "dashboard")
    assert (answer.context["totals"]["checked"], answer.context["totals"]["outside"]) == (0, 0)
    assert answer.context["totals"]["states"] == "3 not checked yet"
    assert "The account has a short position." in main_part(answer)
    assert [claim for claim in CLAIMS if claim in main_part(answer)] == []


def test_dashboard_counts_each_state_and_shows_the_worst_first(client, enter):
    enter(*TRADER)
    states = {
        "IN": {"state": "inside", "largest_drift_percent": Decimal("0.4"), "band_percent": 1},
        "OUT": {"state": "outside", "largest_drift_percent": Decimal("1.5"), "band_percent": 1},
        "FAR": {"state": "outside", "largest_drift_percent": Decimal("20.9"), "band_percent": 1},
        "VOID": {"state": "void", "reason": "The targets have changed since the last comparison."},
    }
    for name, fields in states.items():
        standing(simulated_account(name, {"SPY": "1"}), **fields)
    simulated_account("NEW", {"SPY": "1"})
    simulated_account("LIVE", {"SPY": "1"}, type="live")
    simulated_account("OFF", {"SPY": "1"}, enabled=False)
    answer = page(client, "dashboard")
    assert [card.account.account_id for card in answer.context["cards"]] == [
        "FAR",
        "OUT",
        "VOID",
        "LIVE",
        "NEW",
        "IN",
    ]
    totals = answer.context["totals"]
    assert (totals["outside"], totals["checked"]) == (2, 3)
    assert totals["states"] == "2 outside · 1 inside · 1 not checked yet · 1 changed, not checked since"
    assert main_part(answer).count("rb-chip rb-good") == 1


@pytest.fixture
def inside(make_account):
    """An account that was rebalanced and is inside its band."""
    replacements = ReplacementSet.objects.create(name="set")
    ReplacementRule.objects.create(replacement_set=replacements, source="DBC", target="PDBC")
    account = make_account("A1", cash="100000", replacement_set=replacements, policy=policy())
    assert carry_out(account).state == "completed"
    return account


def set_strategy(account):
    account.strategy = strategy("another", {"QQQ": "0.5", "GLD": "0.5"})
    account.save()


def set_target(account):
    target = TargetAllocation.objects.get(strategy=account.strategy, symbol="SPY")
    target.weight = Decimal("0.2")
    target.save()


def set_band(account):
    account.policy.allocation_threshold_percent = Decimal("0.001")
    account.policy.save()


def set_rule(account):
    ReplacementRule.objects.create(replacement_set=account.replacement_set, source="SPY", target="VOO")


def set_reserve(account):
    account.cash_reserve_percent = Decimal(30)
    account.save()


def unset_strategy(account):
    account.strategy = None
    account.save()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [set_strategy, set_target, set_band, set_rule, set_reserve, unset_strategy])
def test_change_of_what_an_account_is_compared_with_leaves_no_inside_on_any_page(client, enter, inside, change):
    enter(*TRADER)
    former = inside.strategy.name
    pages = [("dashboard",), ("account", "A1"), ("strategy", former)]
    assert all("✓" in main_part(page(client, *one)) for one in pages)
    change(inside)
    for one in pages:
        standings, _, _ = main_part(page(client, *one)).partition("Latest runs")
        assert [claim for claim in CLAIMS if claim in standings] == [], one
    assert page(client, "dashboard").context["totals"]["checked"] == 0


@pytest.mark.django_db(transaction=True)
def test_account_page_shows_the_targets_of_today(client, enter, inside):
    enter(*TRADER)
    set_strategy(inside)
    rows = {row.symbol: row for row in page(client, "account", "A1").context["holdings"].rows}
    assert (rows["QQQ"].typed, rows["QQQ"].target, rows["QQQ"].drift) == (50, None, None)
    assert rows["SPY"].typed is None
    assert rows["SPY"].now > 50


@pytest.mark.django_db(transaction=True)
def test_account_page_explains_the_target_by_the_strategy_and_the_investable_share(client, enter, make_account):
    enter(*TRADER)
    account = make_account("A1", cash="100000", targets={"SPY": "0.35", "IEF": "0.6"}, cash_reserve_percent=Decimal(2))
    carry_out(account)
    holdings = page(client, "account", "A1").context["holdings"]
    rows = {row.label: row for row in holdings.rows}
    assert holdings.investable_percent == pytest.approx(Decimal(98), abs=Decimal("0.001"))
    assert rows["SPY"].typed == 35
    assert rows["SPY"].target == pytest.approx(Decimal("34.3"), abs=Decimal("0.001"))
    assert rows["Cash"].target == pytest.approx(Decimal("6.9"), abs=Decimal("0.001"))


@pytest.mark.django_db(transaction=True)
def test_cash_beside_the_targets_counts_like_a_symbol(client, enter, make_account):
    """An account whose cash is far from its target is outside, and the row of its cash says so."""
    enter(*TRADER)
    account = make_account("A1", cash="100000")
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    answer = page(client, "account", "A1")
    assert answer.context["standing"].state == "outside"
    assert answer.context["holdings"].cash.outside
    assert answer.context["holdings"].outside == 3


# ---- money in is no gain


def history(account, days, value=100_000, cash=100_000, shares=None):
    AccountValue.objects.bulk_create(
        AccountValue(
            account=account,
            at=timezone.now() - timedelta(days=number),
            total_value_usd=value,
            cash_usd=cash,
            shares=shares or {},
        )
        for number in range(days, 0, -1)
    )


@pytest.mark.django_db(transaction=True)
def test_deposit_never_shows_as_gain(client, enter, make_account):
    enter(*TRADER)
    account = make_account("A1", cash="100000")
    history(account, 40)
    SimulatedAccount.objects.filter(account_id="A1").update(cash_usd=150_000)
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    answer = page(client, "account", "A1")
    assert (answer.context["period"].percent, answer.context["period"].money_in_usd) == (0, 50_000)
    assert [mark.kind for _, mark in answer.context["chart"].marks] == ["flow"]
    (card,) = page(client, "dashboard").context["cards"]
    assert (card.period.percent, card.period.money_in_usd, len(card.chart.flows)) == (0, 50_000, 1)


@pytest.mark.django_db(transaction=True)
def test_return_that_is_not_known_is_no_number(client, enter, make_account):
    enter(*TRADER)
    account = make_account("A1", cash="100000")
    history(account, 20)
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    answer = page(client, "account", "A1")
    assert answer.context["period"].percent is None
    assert answer.context["missing_return"]
    assert "rb-change" not in main_part(answer) + main_part(page(client, "dashboard"))


def test_chart_of_all_accounts_marks_the_days_on_which_accounts_were_added_or_disabled():
    today = timezone.localdate()
    rows = [
        (5, 100_000, 1, None, {}),
        (4, 170_000, 2, None, {}),
        (3, 170_000, 2, None, {"1": "100000", "2": "70000"}),
        (2, 170_050, 2, 50, {"1": "100050", "2": "70000"}),
        (1, 70_000, 1, -100_050, {"2": "70000"}),
        (0, 90_000, 1, None, {"2": "90000"}),
    ]
    for days, value, accounts, flow, values in rows:
        day = today - timedelta(days=days)
        TotalValue.objects.create(
            day=day, total_value_usd=value, cash_usd=0, accounts=accounts, flow_usd=flow, account_values=values
        )
    marks = [(mark.kind, (today - mark.day).days) for _, mark in total_chart().marks]
    assert marks == [("flow", 4), ("flow", 1), ("unexplained", 0)]


# ---- buttons


@pytest.mark.parametrize(
    ("permissions", "fields", "buttons"),
    [
        (TRADER, {}, 1),
        (VIEWER, {}, 0),
        (TRADER, {"enabled": False}, 0),
        (TRADER, {"type": "live"}, 0),
        (TRADER, {"strategy": None}, 0),
    ],
)
def test_account_that_can_be_previewed_has_one_button_for_it(client, enter, permissions, fields, buttons):
    enter(*permissions)
    account = simulated_account("A1", {"SPY": "1"}, **fields)
    standing(account, StandingState.UNKNOWN)
    for one in [("account", "A1"), *([("dashboard",)] if account.enabled else [])]:
        assert main_part(page(client, *one)).count(reverse("trading:preview", args=["A1"])) == buttons
    is_offered = reverse("trading:schedule_add", args=["A1"]) in main_part(page(client, "account", "A1"))
    assert is_offered == bool(buttons)
    assert bool(preview_obstacle(account)) == (fields != {})


def test_strategy_page_shows_percentages_with_the_digits_that_they_need(client, enter):
    enter(*VIEWER)
    strategy("blend", {"VTI": "0.3", "TLT": "0.4", "IEF": "0.15", "GLD": "0.075", "DBC": "0.075"})
    context = page(client, "strategy", "blend").context
    assert [f"{target['shown']:f}" for target in context["targets"]] == ["40.0", "30.0", "15.0", "7.5", "7.5"]
    assert (context["total"], context["cash"]) == (100, 0)
    assert "7.5" in main_part(page(client, "strategies"))


def test_drift_that_no_trade_reduces_is_not_shown_as_inside_the_band(client, enter):
    enter(*TRADER)
    standing(
        simulated_account("A1", {"SPY": "1"}),
        StandingState.INSIDE,
        reason_code="no_trade_helps",
        reason="SPY is 10.0 pp below its target. No trade of whole shares would bring the account closer.",
        largest_drift_percent=Decimal(10),
        band_percent=Decimal(1),
        target_weights={"SPY": "1", "$CASH": "0"},
    )
    for one in [("dashboard",), ("account", "A1"), ("strategy", "strategy-of-a1")]:
        standings, _, _ = main_part(page(client, *one)).partition("Latest runs")
        assert [claim for claim in CLAIMS if claim in standings] == [], one


def test_position_that_the_policy_keeps_has_no_drift(client, enter):
    enter(*TRADER)
    account = simulated_account("A1", {"SPY": "1"}, policy=policy(unmanaged="keep"))
    standing(
        account,
        StandingState.INSIDE,
        weights=[["GLD", "0.5"], ["SPY", "0.5"], ["$CASH", "0"]],
        snapshot={"positions": [{"symbol": "GLD", "quantity": "10", "mark": "50", "weight": "0.5"}]},
        band_percent=Decimal(1),
        target_weights={"SPY": "0.5", "$CASH": "0"},
    )
    holdings = page(client, "account", "A1").context["holdings"]
    rows = {row.symbol: row for row in holdings.rows}
    assert (rows["GLD"].drift, rows["GLD"].outside, rows["SPY"].drift) == (None, False, 0)
    assert [row.label for row in holdings.drift.rows] == ["SPY", "Cash"]


@pytest.mark.parametrize(("has_worker", "words"), [(True, "Reading the account"), (False, "no worker is running")])
def test_refresh_without_a_worker_says_so(client, enter, has_worker, words):
    simulated_account("A1", {"SPY": "1"})
    if has_worker:
        ProcessHeartbeat.objects.create(name="worker:1:1", kind="worker", at=timezone.now())
    enter(*TRADER)
    client.post(reverse("trading:refresh_account", args=["A1"]))
    answer = page(client, "account", "A1")
    (message,) = answer.context["messages"]
    assert message.level_tag == ("success" if has_worker else "warning")
    assert words in answer.content.decode().partition('id="refresh-in-progress"')[2].partition("</p>")[0]


@pytest.mark.parametrize(
    ("changes", "mode", "shown"),
    [({}, "live", True), ({}, "paper", False), ({"enabled": False}, "live", False)],
)
def test_only_an_account_that_is_used_is_called_unarmed(client, enter, settings, changes, mode, shown):
    settings.TRADING_MODE = mode
    simulated_account("A1", {"SPY": "1"}, type="live", **changes)
    enter(*TRADER)
    assert ('id="not-armed"' in page(client, "account", "A1").content.decode()) is shown


@pytest.mark.parametrize(
    ("age_minutes", "fields", "notice"),
    [
        (0, {}, "refresh-in-progress"),
        (5, {}, "refresh-late"),
        (5, {"error_code": "broker_unreachable", "error_message": "Is the gateway logged in?"}, "refresh-failed"),
        (90, {"error_code": "broker_unreachable"}, None),
    ],
)
def test_account_page_shows_what_became_of_a_refresh(client, enter, age_minutes, fields, notice):
    enter(*TRADER)
    account = simulated_account("A1", {"SPY": "1"})
    standing(account, StandingState.UNKNOWN, as_of=timezone.now() - timedelta(hours=1))
    at = timezone.now() - timedelta(minutes=age_minutes)
    AccountRefresh.objects.create(account=account, requested_at=at, finished_at=at if fields else None, **fields)
    content = main_part(page(client, "account", "A1"))
    found = [name for name in ("refresh-in-progress", "refresh-late", "refresh-failed") if f'id="{name}"' in content]
    assert found == ([notice] if notice else [])
    assert (reverse("trading:refresh_account", args=["A1"]) in content) == (notice != "refresh-in-progress")
