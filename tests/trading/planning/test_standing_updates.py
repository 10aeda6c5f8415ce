"""The standing of an account follows its snapshot and its settings, by every way to change them."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from accounts.models import Account, RebalancePolicy, ReplacementRule, ReplacementSet, Strategy, TargetAllocation
from brokers.broker_types import AccountPosition, AccountSnapshot
from brokers.simulated.models import SimulatedAccount, SimulatedFault
from tests.support.makers import carry_out, policy, strategy
from trading.actions.kill_switch import set_paused
from trading.journal.account_status import MAX_POSITIONS
from trading.models import AccountStanding, PublishedTargets, RebalanceRun
from trading.models.run_documents import ExecCommand
from trading.planning import standing_updates
from trading.planning.standing_updates import store_look, void_all_changed
from trading.tasks import compare_standings, value_accounts

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = {"SPY": "0.6", "IEF": "0.4"}


def standing(account):
    return AccountStanding.objects.get(account=account)


def look(account, cash="0", positions=(), at=None, **changes):
    """Store a snapshot with positions of (symbol, quantity, price)."""
    rows = tuple(
        AccountPosition(symbol=symbol, quantity=Decimal(n), market_price=price and Decimal(price), contract_id=symbol)
        for symbol, n, price in positions
    )
    total = Decimal(cash) + sum((row.quantity * (row.market_price or 0) for row in rows), Decimal(0))
    fields = {"account_id": account.account_id, "total_value_usd": total, "cash_usd": Decimal(cash)} | changes
    return store_look(account.pk, AccountSnapshot(positions=rows, as_of=at or timezone.now(), **fields))


BALANCED = (("SPY", "60", "100"), ("IEF", "40", "100"))


@pytest.fixture
def balanced(make_account):
    """An account that is exactly on its targets, with a set that changes nothing yet."""
    rules = ReplacementSet.objects.create(name="set")
    ReplacementRule.objects.create(replacement_set=rules, source="DBC", target="PDBC")
    account = make_account(replacement_set=rules)
    strategy("other", {"VTI": "1"})
    assert look(account, positions=BALANCED)
    assert (standing(account).state, standing(account).reason_code) == ("inside", "drift_inside_band")
    return account


def revert(model, **key):
    """Restore the first version of a row, as the page of its history does."""
    row = model.objects.get(**key)
    row.history.earliest().instance.save()


def by_admin(account, client, **changes):
    page = reverse("admin:accounts_account_change", args=[account.pk])
    client.force_login(User.objects.create_superuser("root", password="pw"))
    form = client.get(page).context["adminform"].form
    fields = {name: "" if value is None else value for name, value in form.initial.items()} | changes
    assert client.post(page, fields).status_code == 302


ROWS = "[{symbol: SPY, weight: 0.5}, {symbol: IEF, weight: 0.5}]"


def import_targets(tmp_path, text):
    path = tmp_path / "targets.yaml"
    path.write_text(text)
    call_command("import_targets", str(path), stdout=StringIO())


def saved(row, only=None, **changes):
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(update_fields=only)


WRITERS = {
    "account saved with another strategy": (
        lambda a: saved(Account.objects.get(pk=a.pk), strategy=Strategy.objects.get(name="other")),
        "other_strategy",
    ),
    "accounts updated in bulk": (
        lambda _: Account.objects.update(strategy=Strategy.objects.get(name="other")),
        "other_strategy",
    ),
    "accounts of a related manager updated": (
        lambda a: a.strategy.accounts.update(strategy=Strategy.objects.get(name="other")),
        "other_strategy",
    ),
    "strategy removed from the account": (
        lambda a: saved(Account.objects.get(pk=a.pk), strategy=None),
        "other_strategy",
    ),
    "source of the strategy": (lambda a: saved(a.strategy, source="api"), "other_strategy"),
    "target saved": (lambda a: saved(a.strategy.targets.get(symbol="SPY"), weight=Decimal("0.3")), "targets_changed"),
    "target added": (
        lambda a: TargetAllocation.objects.bulk_create([TargetAllocation(strategy=a.strategy, symbol="GLD", weight=0)]),
        "targets_changed",
    ),
    "target deleted": (lambda a: a.strategy.targets.get(symbol="SPY").delete(), "targets_changed"),
    "targets deleted in bulk": (lambda a: a.strategy.targets.filter(symbol="SPY").delete(), "targets_changed"),
    "targets updated in bulk": (lambda _: TargetAllocation.objects.update(weight=F("weight") / 2), "targets_changed"),
    "targets by bulk_update": (
        lambda a: TargetAllocation.objects.bulk_update(
            [TargetAllocation(pk=a.strategy.targets.get(symbol="SPY").pk, weight=Decimal("0.1"))], ["weight"]
        ),
        "targets_changed",
    ),
    "stocks named like cash": (lambda a: saved(a.strategy, cash_like_stocks="CASH"), "targets_changed"),
    "rule saved": (lambda _: saved(ReplacementRule.objects.get(), source="IEF", target="TLT"), "rules_changed"),
    "rule created": (
        lambda a: ReplacementRule.objects.create(replacement_set=a.replacement_set, source="SPY", target="VOO"),
        "rules_changed",
    ),
    "rule deleted": (lambda _: ReplacementRule.objects.get().delete(), "rules_changed"),
    "rules deleted in bulk": (lambda _: ReplacementRule.objects.all().delete(), "rules_changed"),
    "set removed": (lambda a: saved(Account.objects.get(pk=a.pk), replacement_set=None), "rules_changed"),
    "band of the policy": (
        lambda _: saved(RebalancePolicy.objects.get(name="cheap"), allocation_threshold_percent=Decimal(3)),
        "settings_changed",
    ),
    "policies updated in bulk": (
        lambda _: RebalancePolicy.objects.update(allocation_threshold_percent=Decimal(3)),
        "settings_changed",
    ),
    "other policy": (
        lambda a: saved(Account.objects.get(pk=a.pk), policy=policy("strict", allocation_threshold_percent=Decimal(2))),
        "settings_changed",
    ),
    "default policy": (lambda a: saved(Account.objects.get(pk=a.pk), policy=None), "settings_changed"),
    "cash reserve": (
        lambda a: saved(Account.objects.get(pk=a.pk), cash_reserve_percent=Decimal(5)),
        "settings_changed",
    ),
    "environment": (lambda a: saved(Account.objects.get(pk=a.pk), type="live"), "other_environment"),
    "broker": (lambda a: saved(Account.objects.get(pk=a.pk), broker="ibkr"), "other_environment"),
    "number": (lambda a: saved(Account.objects.get(pk=a.pk), account_id="U77"), "other_environment"),
    "save of one field": (
        lambda a: saved(Account.objects.get(pk=a.pk), only=["strategy"], strategy=None),
        "other_strategy",
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_change_of_a_setting_voids_the_standing_in_its_transaction(balanced, name):
    change, code = WRITERS[name]
    OrmQ.objects.all().delete()
    with transaction.atomic():
        change(balanced)
        assert standing(balanced).state == "void"
        transaction.set_rollback(True)
    assert standing(balanced).state == "inside" and not OrmQ.objects.exists()  # both are undone together
    change(Account.objects.get(pk=balanced.pk))
    found = standing(balanced)
    assert (found.state, found.reason_code, found.largest_drift_pp, found.band_percent) == ("void", code, None, None)
    assert found.changed_at is not None and found.total_value_usd == 10_000
    assert OrmQ.objects.exists()


def test_change_by_import_and_admin_and_its_revert_void_the_standing(balanced, client, tmp_path):
    import_targets(tmp_path, f"{balanced.strategy.name}: {{targets: {ROWS}}}")
    assert standing(balanced).reason_code == "targets_changed"
    compare_standings()
    assert (standing(balanced).state, standing(balanced).largest_drift_pp) == ("outside", 10)
    by_admin(balanced, client, strategy=Strategy.objects.get(name="other").pk)
    assert standing(balanced).reason_code == "other_strategy"
    compare_standings()
    revert(Account, pk=balanced.pk)
    assert standing(balanced).reason_code == "other_strategy"


@pytest.mark.parametrize(
    "change",
    [
        lambda a: saved(Account.objects.get(pk=a.pk), name="Mine", trading_paused=True),
        lambda a: saved(a.strategy, notes="new", cadence="weekly"),
        lambda _: saved(RebalancePolicy.objects.get(name="cheap"), order_timeout_seconds=99),
        lambda a: saved(a.strategy.targets.get(symbol="SPY")),
        lambda _: strategy("third", {"GLD": "1"}),
        lambda _: ReplacementSet.objects.update(description="text"),
    ],
)
def test_change_that_no_comparison_depends_on_leaves_the_standing(balanced, change):
    change(balanced)
    assert standing(balanced).state == "inside"


def test_comparison_that_fails_voids_the_standing_and_fails_no_change(balanced, monkeypatch):
    def fail(accounts):
        raise ValueError("a policy that cannot be read")

    monkeypatch.setattr(standing_updates, "read_bases", fail)
    followed = Strategy.objects.get(pk=balanced.strategy_id)
    followed.title = "New"
    followed.save()
    assert standing(balanced).state == "void"
    assert Strategy.objects.get(pk=followed.pk).title == "New"


def test_look_that_cannot_be_stored_fails_no_run(balanced, monkeypatch):
    def fail(*_):
        raise ValueError("an odd snapshot")

    monkeypatch.setattr(standing_updates, "account_state", fail)
    run = carry_out(balanced, ExecCommand.PRINT_REBALANCE)
    assert run.state == "completed"


def test_kill_switch_of_an_account_does_not_touch_its_standing(balanced, monkeypatch):
    compared = []
    monkeypatch.setattr(standing_updates, "read_bases", compared.append)
    assert set_paused(balanced, paused=True, reason="", by="test")
    assert Account.objects.get(pk=balanced.pk).trading_paused and standing(balanced).state == "inside"
    assert not compared


def test_change_behind_django_is_found_by_the_task(balanced):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_targetallocation SET weight = 0.3 WHERE symbol = 'SPY'")
    assert void_all_changed() == 1
    assert standing(balanced).reason_code == "targets_changed"
    assert void_all_changed() == 0


def test_void_standing_is_compared_again_from_the_stored_snapshot(balanced):
    as_of = standing(balanced).as_of
    TargetAllocation.objects.filter(symbol="SPY").update(weight=Decimal("0.5"))
    compare_standings()
    found = standing(balanced)
    assert (found.state, found.reason_code, found.largest_drift_pp) == ("outside", "drift_outside_band", 10)
    assert (found.as_of, found.changed_at) == (as_of, None)
    saved(RebalancePolicy.objects.get(name="cheap"), allocation_threshold_percent=Decimal(15))
    compare_standings()
    found = standing(balanced)
    assert (found.state, found.band_percent, found.largest_drift_pp) == ("inside", 15, 10)
    assert compare_standings() == 0


@pytest.mark.parametrize("changes", [{"broker": "ibkr"}, {"type": "live"}, {"account_id": "U77"}])
def test_snapshot_of_another_account_is_not_compared_until_the_account_is_read(balanced, changes):
    account, before = Account.objects.get(pk=balanced.pk), {name: getattr(balanced, name) for name in changes}
    saved(balanced.strategy.targets.get(symbol="SPY"), weight=Decimal("0.59"))
    saved(account, **changes)  # void before, for another reason
    for _ in range(2):
        assert compare_standings() == 0
        assert (standing(balanced).state, standing(balanced).reason_code) == ("void", "other_environment")
    saved(account, **before)
    assert compare_standings() == 1 and standing(balanced).state == "outside"
    saved(account, **changes)
    assert look(account, cash="5000", positions=BALANCED)
    assert (standing(balanced).state, standing(balanced).total_value_usd) == ("outside", 15_000)


def test_targets_of_the_service_are_those_that_were_fetched_last(make_account):
    feed = Strategy.objects.create(name="feed", source="api")
    account = make_account(strategy=feed)
    look(account, positions=BALANCED)
    assert (standing(account).state, standing(account).reason_code) == ("unknown", "targets_not_fetched")
    fetched = {"fetched_at": timezone.now(), "targets": [{"symbol": s, "weight": w} for s, w in WANTED.items()]}
    PublishedTargets.objects.update_or_create(strategy=feed, defaults=fetched)
    assert standing(account).state == "void"
    compare_standings()
    assert standing(account).state == "inside"
    PublishedTargets.objects.update_or_create(strategy=feed, defaults={"failed_at": timezone.now()})
    assert standing(account).state == "inside"
    PublishedTargets.objects.update_or_create(strategy=feed, defaults={"targets": [{"symbol": "VTI", "weight": "1"}]})
    assert (standing(account).state, standing(account).reason_code) == ("void", "targets_changed")


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        ({"positions": (("SPY", "1", None),), "cash": "100"}, "position_without_price"),
        ({"positions": BALANCED, "total_value_usd": Decimal(20_000)}, "account_data_mismatch"),
        ({"cash": "0"}, "total_value_not_positive"),
        ({"positions": (("SPY", "-5", "100"),), "cash": "10000"}, "short_position"),
    ],
)
def test_incomplete_data_is_unknown_with_the_reason(balanced, snapshot, code):
    look(balanced, **snapshot)
    found = standing(balanced)
    assert (found.state, found.reason_code, found.largest_drift_pp) == ("unknown", code, None)
    assert found.reason


def test_account_without_a_strategy_is_unknown_until_it_has_one(make_account):
    account = make_account(strategy=None)
    look(account, positions=BALANCED)
    assert (standing(account).state, standing(account).reason_code) == ("unknown", "no_strategy")
    saved(account, strategy=strategy("new", WANTED))
    assert standing(account).state == "void"
    compare_standings()
    assert standing(account).state == "inside"


def test_deposit_and_the_daily_valuation_move_value_cash_and_drift_together(make_account):
    account = make_account(cash="200000")
    carry_out(account)
    before = standing(account)
    assert before.state == "inside"
    SimulatedAccount.objects.update(cash_usd=F("cash_usd") + 50_000)
    AccountStanding.objects.update(as_of=timezone.now() - timedelta(days=2))
    assert value_accounts(account.connection_id) == 1
    after = standing(account)
    assert after.state == "outside" and after.cash_usd == before.cash_usd + 50_000
    assert after.largest_drift_pp > 19 and after.as_of > before.as_of
    assert dict(after.weights)["$CASH"] > dict(before.weights)["$CASH"]
    assert after.planned_run == RebalanceRun.objects.latest("pk")


def test_rejected_sell_leaves_the_account_outside(make_account):
    account = make_account(cash="1000", positions={"SPY": "100", "IEF": "10"})
    SimulatedFault.objects.create(kind="reject", symbol="SPY", message="not today")
    carry_out(account)
    found = standing(account)
    assert (found.state, found.reason_code) == ("outside", "drift_outside_band")
    assert found.largest_drift_pp > 20


def test_account_that_no_whole_share_brings_closer_is_inside_and_says_why(make_account):
    account = make_account(cash="1000", targets=(("SPY", "1"),))
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    look(account, cash="1000")
    assert standing(account).state == "outside"
    look(account, cash="500", at=timezone.now())
    found = standing(account)
    assert (found.state, found.reason_code, found.largest_drift_pp) == ("inside", "no_trade_helps", 100)


def test_older_look_does_not_replace_a_newer_one(balanced):
    assert not look(balanced, cash="5", at=timezone.now() - timedelta(minutes=1))
    assert standing(balanced).total_value_usd == 10_000


def test_account_of_very_many_positions_is_compared_but_not_kept(make_account):
    account = make_account()
    look(account, cash="10", positions=[(f"A{n}", "1", "1") for n in range(MAX_POSITIONS + 1)])
    found = standing(account)
    assert (found.state, found.snapshot) == ("outside", {"positions_count": MAX_POSITIONS + 1})
    saved(account, cash_reserve_percent=Decimal(5))
    assert compare_standings() == 0 and standing(account).state == "void"


@pytest.mark.parametrize("count", [2, 8])
def test_number_of_queries_does_not_depend_on_the_number_of_accounts(
    make_account, django_assert_max_num_queries, count
):
    for number in range(count):
        account = make_account(f"U{number}", strategy=strategy("all", WANTED))
        look(account, positions=BALANCED)
    with django_assert_max_num_queries(8):
        void_all_changed()
