"""What the pages of strategies, replacement sets, schedule and accounts say in each of their states."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, ReplacementRule, ReplacementSet, Strategy
from tests.support.makers import queue, simulated_account, strategy
from trading.common.formats import instant_text
from trading.models import AccountStanding, RebalanceRun, ScheduleEntry, StrategyEvent

pytestmark = pytest.mark.django_db
EVERYTHING = (
    "view_account",
    "view_strategy",
    "view_replacementset",
    "preview_account",
    "execute_account",
    "change_strategy",
)


@pytest.fixture
def enter(client):
    """Logs a person in who has these rights."""

    def log_in(*rights):
        person = User.objects.create_user(f"p{User.objects.count()}", is_staff=True)
        person.user_permissions.set(Permission.objects.filter(codename__in=rights or EVERYTHING))
        client.force_login(person)

    return log_in


def words(client, name, *arguments, method="get"):
    """The page's text, without its tags."""
    answer = getattr(client, method)(reverse(f"trading:{name}", args=arguments), follow=True)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def event(channel, **fields):
    now = timezone.now()
    row = {"source": "ably", "message_id": f"m{StrategyEvent.objects.count()}", "payload": "{}", "payload_digest": "0",
           "exec": "rebalance", "state": "accepted", "published_at": now}  # fmt: skip
    return StrategyEvent.objects.create(channel=channel, **row | fields)


# ---- strategies


def test_a_strategy_shows_targets_with_their_sum_followers_and_its_last_event(client, enter):
    enter()
    blend = strategy(
        "blend", {"SPY": "0.6", "IEF": "0.35"}, title="Blend", auto_approve_turnover_percent=Decimal("7.5")
    )
    Account.objects.create(account_id="F1", broker="simulated", strategy=blend)
    event("blend", state="late", reason="It came 1000 seconds after it was published")
    page = words(client, "strategy", "blend")
    assert "SPY 60%" in page and "Sum 95%" in page and "Targets add up to 95%; 5% stays in cash." in page
    assert "Accounts (1)" in page and "F1" in page
    assert "It came 1000 seconds after it was published Late" in page
    assert "auto-approve below 7.5% turnover" in page
    listed = words(client, "strategies")
    assert "Blend Own targets" in listed and "Sum 95% · 5% stays in cash" in listed and "1 account " in listed


def test_weights_that_are_too_much_say_by_how_much(client, enter):
    enter()
    strategy("much", {"SPY": "0.7", "IEF": "0.5"})
    assert "Targets add up to 120%, which exceeds 100% by 20%." in words(client, "strategy", "much")
    assert "Sum 120%" in words(client, "strategies")


@pytest.mark.django_db(transaction=True)
def test_fetch_now_shows_the_targets_or_says_what_is_wrong_and_trades_nothing(client, enter, allocations):
    enter()
    strategy("blend")
    assert "The targets have not been fetched." in words(client, "strategy", "blend")
    allocations.publish("blend", [("SPY", 0.6), ("IEF", 0.4)])
    page = words(client, "fetch_targets", "blend", method="post")
    assert "2 targets fetched." in page
    allocations.publish("blend", [("SPY", 0.6001), ("IEF", 0.4)])
    page = words(client, "fetch_targets", "blend", method="post")
    assert "2 targets fetched." in page and "1.0001" in page and "Sum 100.0000%" in page
    assert "SPY 60.0040%" in page and "Fetched just now" in page
    allocations.answer("blend", 404, "{}")
    page = words(client, "fetch_targets", "blend", method="post")
    assert "allocations_http_error" in page and "Fetching the targets failed" in page
    assert "SPY 60.0040%" in page
    assert "Fetch failed" in words(client, "strategies")
    assert not RebalanceRun.objects.exists()


def test_fetching_takes_its_right_and_a_button(client, enter, allocations):
    enter("view_strategy")
    strategy("blend")
    assert "accounts.preview_account" in words(client, "fetch_targets", "blend", method="post")
    assert client.get(reverse("trading:fetch_targets", args=["blend"])).status_code == 405
    assert allocations.requests == []


# ---- replacement sets


def replacing(name="ira", **rules):
    made = ReplacementSet.objects.create(name=name)
    for source, target in rules.items():
        ReplacementRule.objects.create(replacement_set=made, source=source, target=target)
    return made


def test_a_set_shows_what_it_does_to_each_strategy_that_uses_it(client, enter):
    enter()
    ira = replacing(DBC="PDBC", SPY="VOO")
    simulated_account("A1", {"SPY": "0.6", "DBC": "0.4"}, replacement_set=ira, name="Mine")
    simulated_account("A2", {}, replacement_set=ira)
    page = words(client, "replacement_set", "ira")
    assert "DBC → PDBC" in page
    assert "Effect on strategy-of-a1" in page and "Accounts: Mine" in page
    assert "SPY 60.00% 0.00% \N{MINUS SIGN}60.00" in page and "VOO 0.00% 60.00% +60.00" in page
    assert "The targets of this strategy have not been fetched." in page
    assert "2 accounts" in words(client, "replacement_sets")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"A": "B", "B": "A"}, "The rules form a cycle: A → B → A."),
        ({}, "No rules."),
        ({"A": "B"}, "No account with a strategy uses this set."),
    ],
)
def test_a_set_says_what_is_odd_about_it(client, enter, rules, said):
    enter()
    replacing(**rules)
    assert said in words(client, "replacement_set", "ira")


def test_a_set_that_runs_are_refused_for_says_so(client, enter):
    enter()
    ira = replacing()
    ReplacementRule.objects.create(replacement_set=ira, source="SPY", target="UPRO", scale=3)
    simulated_account("A1", {"SPY": "0.6", "IEF": "0.4"}, replacement_set=ira)
    assert "Runs are refused: " in words(client, "replacement_set", "ira")


# ---- schedule


def entry(account, state, **fields):
    now = timezone.now()
    return ScheduleEntry.objects.create(key=f"{state}:{account}", account=account, session_date=now.date(), due_at=now,
                                        origin="person", state=state, **fields)  # fmt: skip


def test_the_schedule_shows_what_waits_what_went_wrong_and_what_was(client, enter):
    enter()
    account = simulated_account("A1", {"SPY": "1"}, name="Mine")
    Strategy.objects.update(cadence="monthly", drift_check="report")
    assert "Nothing is scheduled." in words(client, "schedule")
    entry(account, "waiting")
    entry(account, "failed", message="The broker was away.")
    entry(account, "completed")
    page = words(client, "schedule")
    assert "Scheduled 2 accounts" in page
    assert "The broker was away." in page and "Cancel" in page
    assert "First session of each month next " in page
    assert "Past" in page and "Completed" in page


def test_the_schedule_says_when_nothing_starts_by_itself_and_offers_nothing_to_who_may_not_act(client, enter, settings):
    settings.SCHEDULER_ENABLED = False
    enter("view_account")
    entry(simulated_account("A1", {"SPY": "1"}), "waiting")
    page = words(client, "schedule")
    assert "The scheduler is off" in page
    assert "Cancel" not in page


# ---- accounts and the dashboard


@pytest.mark.parametrize(
    ("fields", "notice"),
    [
        ({"enabled": False}, "disabled"),
        ({"trading_paused": True}, "trading-paused"),
        ({"strategy": None}, "no-strategy"),
        ({"type": "live"}, "not-armed"),
        ({}, "no-data"),
    ],
)
def test_account_page_shows_what_prevents_trading(client, enter, settings, fields, notice):
    enter()
    settings.TRADING_MODE = fields.get("type", "paper")
    simulated_account("A1", {"SPY": "1"}, **fields)
    assert f'id="{notice}"' in client.get(reverse("trading:account", args=["A1"])).content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_account_says_what_goes_on_and_that_its_data_is_old(client, enter):
    enter()
    account = simulated_account("A1", {"SPY": "1"}, name="Mine")
    old = timezone.now() - timedelta(days=3)
    AccountStanding.objects.create(account=account, as_of=old, total_value_usd=1234, cash_usd=5)
    assert "Value $1,234 ⚠ Out of date: read 3 days ago" in words(client, "account", "A1")
    assert "Out of date: read 3 days ago" in words(client, "dashboard")
    queue(account)
    assert "Rebalance in progress · View" in words(client, "account", "A1")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["dashboard", "strategies", "schedule"])
def test_pages_say_that_a_broker_is_away_until_it_answers_again(client, enter, name):
    enter()
    account = simulated_account("A1", {"SPY": "1"})
    run = queue(account)
    now = timezone.now()
    RebalanceRun.objects.filter(pk=run.pk).update(
        state="failed", finished_at=now, error_code="broker_unreachable", error_message="Is the gateway logged in?"
    )
    standing = AccountStanding.objects.create(
        account=account, as_of=now - timedelta(hours=1), total_value_usd=1, cash_usd=1
    )
    page, address = words(client, name), reverse(f"trading:{name}")
    assert instant_text(now, "minutes") in page and "Is the gateway logged in?" in page
    assert 'id="notice-broker-unreachable"' in client.get(address).content.decode()
    standing.as_of = now + timedelta(seconds=1)
    standing.save()
    assert "notice-broker-unreachable" not in client.get(address).content.decode()


def test_the_first_page_of_a_new_installation_has_one_thing_to_do(client, enter):
    enter()
    assert "No accounts yet" in words(client, "dashboard") and "Contact an administrator" in words(client, "dashboard")
    enter(*EVERYTHING, "add_account")
    assert "Add an account" in words(client, "dashboard")
    assert "No worker is running" in words(client, "dashboard")


@pytest.mark.parametrize(
    "name", ["dashboard", "strategies", "replacement_sets", "runs", "events", "schedule", "notifications"]
)
def test_who_has_no_right_is_told_which_and_who_is_not_logged_in_is_led_to_the_login(client, enter, name):
    address = reverse(f"trading:{name}")
    assert client.get(address)["Location"] == f"/admin/login/?next={address}"
    enter("add_user")
    answer = client.get(address)
    assert answer.status_code == 403
    assert re.findall(r'(?s)class="rb-icon".*?</svg>\s*(\w+)', answer.content.decode().split("rb-user")[0]) == [
        "System"
    ]
    assert re.search(r"<code>\w+\.view_\w+</code>", answer.content.decode())
