"""The admin of accounts, strategies, replacement sets and policies."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from accounts.models import Account, RebalancePolicy, ReplacementRule, ReplacementSet, Strategy, TargetAllocation
from brokers.simulated.models import SimulatedAccount

pytestmark = pytest.mark.django_db
CHANGELISTS = ("account", "strategy", "replacementset", "rebalancepolicy", "brokerconnection")


@pytest.fixture
def admin(client):
    client.force_login(User.objects.create_superuser("admin"))
    return client


def formset(prefix, rows):
    data = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": 0}
    for number, row in enumerate(rows):
        data |= {f"{prefix}-{number}-{field}": value for field, value in row.items()}
    return data


def test_adding_an_account_creates_its_slot_and_simulated_records(admin):
    data = {
        "account_id": "SIM-9",
        "name": "Mine",
        "broker": "simulated",
        "type": "paper",
        "cash_reserve_percent": "2",
        "trade_guard": "none",
        "enabled": "on",
    }
    answer = admin.post(reverse("admin:accounts_account_add"), data)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    account = Account.objects.get(account_id="SIM-9")
    assert (account.connection.broker, account.connection.environment) == ("simulated", "paper")
    assert SimulatedAccount.objects.filter(account_id="SIM-9").exists()
    assert account.history.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_id", "not good!"),
        ("broker", "nobody"),
        ("cash_reserve_percent", "100"),
        ("type", "demo"),
        ("live_armed", "on"),
    ],
)
def test_adding_an_account_with_invalid_value_reports_the_field(admin, field, value):
    data = {
        "account_id": "A1",
        "broker": "simulated",
        "type": "paper",
        "cash_reserve_percent": "0",
        "trade_guard": "none",
    }
    answer = admin.post(reverse("admin:accounts_account_add"), data | {field: value})
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors


def test_strategy_with_weights_above_one_is_rejected_with_the_excess(admin):
    rows = [{"symbol": "SPY", "weight": "0.7"}, {"symbol": "IEF", "weight": "0.4"}]
    data = {
        "name": "mine",
        "source": "static",
        "late_event_policy": "preview",
        "late_after_seconds": "900",
        "enabled": "on",
    }
    answer = admin.post(reverse("admin:accounts_strategy_add"), data | formset("targets", rows))
    assert "1.1. Reduce them by 0.1." in answer.content.decode()
    assert not Strategy.objects.exists()


def test_replacement_set_with_cycle_is_rejected_with_the_cycle(admin):
    rows = [{"source": "A", "target": "B", "scale": "1"}, {"source": "B", "target": "A", "scale": "1"}]
    answer = admin.post(reverse("admin:accounts_replacementset_add"), {"name": "mine"} | formset("rules", rows))
    assert "A → B → A" in answer.content.decode()
    assert not ReplacementSet.objects.exists()


def test_new_default_policy_replaces_the_previous_default(admin):
    old = RebalancePolicy.objects.get(is_default=True)
    url = reverse("admin:accounts_rebalancepolicy_change", args=[old.pk])
    values = {
        k: v for k, v in admin.get(url).context["adminform"].form.initial.items() if v is not None and v is not False
    }
    answer = admin.post(reverse("admin:accounts_rebalancepolicy_add"), values | {"name": "new", "is_default": "on"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert RebalancePolicy.objects.get(is_default=True).name == "new"


def test_policy_page_shows_every_field_in_exactly_one_group(admin):
    page = admin.get(reverse("admin:accounts_rebalancepolicy_add")).context["adminform"]
    shown = [name for _, options in page.fieldsets for name in options["fields"]]
    editable = {field.name for field in RebalancePolicy._meta.concrete_fields} - {"id"}
    assert sorted(shown) == sorted(editable)
    assert all(options["description"] for title, options in page.fieldsets if title)


def test_changing_an_account_adds_a_row_to_its_history(admin):
    account = Account.objects.create(account_id="A1", broker="simulated")
    data = {
        "account_id": "A1",
        "broker": "simulated",
        "type": "paper",
        "cash_reserve_percent": "7",
        "trade_guard": "none",
    }
    admin.post(reverse("admin:accounts_account_change", args=[account.pk]), data)
    newest = account.history.first()
    assert (newest.cash_reserve_percent, newest.history_user.username) == (Decimal(7), "admin")


def test_pausing_accounts_requires_the_change_permission(client):
    account = Account.objects.create(account_id="A1", broker="simulated")
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    data = {"action": "pause_trading", "_selected_action": [account.pk]}
    assert client.post(reverse("admin:accounts_account_changelist"), data).status_code == 403
    client.force_login(User.objects.create_superuser("admin"))
    client.post(reverse("admin:accounts_account_changelist"), data)
    account.refresh_from_db()
    assert account.trading_paused


@pytest.mark.parametrize("model", CHANGELISTS)
def test_list_with_fifty_rows_makes_as_many_queries_as_with_five(admin, django_assert_num_queries, model):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def fill(start, stop):
        for i in range(start, stop):
            strategy = Strategy.objects.create(name=f"s-{i}", source="static")
            TargetAllocation.objects.create(strategy=strategy, symbol="SPY", weight=Decimal("0.5"))
            replacements = ReplacementSet.objects.create(name=f"set-{i}")
            ReplacementRule.objects.create(replacement_set=replacements, source="A", target="B")
            Account.objects.create(
                account_id=f"A{i}", broker="simulated", strategy=strategy, replacement_set=replacements
            )
            RebalancePolicy.objects.create(name=f"p-{i}")

    url = reverse(f"admin:accounts_{model}_changelist")
    fill(0, 5)
    admin.get(url)
    with CaptureQueriesContext(connection) as few:
        assert admin.get(url).status_code == 200
    fill(5, 50)
    with CaptureQueriesContext(connection) as many:
        assert admin.get(url).status_code == 200
    assert len(many) == len(few)


def test_admin_does_not_register_the_pages_of_the_queue(admin):
    from django.contrib.admin import site
    from django_q.models import Schedule

    assert not site.is_registered(Schedule)
    assert admin.get("/admin/django_q/schedule/").status_code == 404


def test_every_list_of_the_admin_opens(admin):
    from django.contrib.admin import site

    Account.objects.create(account_id="A1", broker="simulated")
    for model in site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        assert admin.get(reverse(f"admin:{name}_changelist")).status_code == 200, name
    assert admin.get(reverse("admin:index")).status_code == 200


def test_adding_a_fault_makes_the_simulated_broker_use_it_once(admin):
    from brokers.simulated.faults import Kind, take_fault

    data = {"kind": "reject", "symbol": "SPY", "remaining": "1", "number": "0", "message": "Not today"}
    admin.post(reverse("admin:simulated_simulatedfault_add"), data)
    assert take_fault(Kind.REJECT, "A1", "SPY").message == "Not today"
    assert take_fault(Kind.REJECT, "A1", "SPY") is None


STATIC = {
    "name": "mine",
    "source": "static",
    "late_event_policy": "preview",
    "late_after_seconds": "900",
    "enabled": "on",
    "cadence": "none",
    "drift_check": "off",
    "drift_check_minutes": "30",
}


@pytest.mark.parametrize(
    ("rows", "stocks", "saved"),
    [
        ([("CASH", "0.1"), ("SPY", "0.9")], "", False),
        ([("USD", "0.1"), ("SPY", "0.9")], "CASH", False),
        ([("USD", "0.1"), ("CASH", "0.9")], "usd, cash", True),
        ([("SPY", "0.5"), ("IEF", "0.5005")], "", True),
        ([("SPY", "0.5"), ("IEF", "0.5006")], "", False),
        ([("SPY", "60"), ("IEF", "40")], "", False),
        ([("SPY", "1")], "SPY", False),
        ([("SPY", "1")], "$CASH", False),
    ],
)
def test_static_targets_are_checked_like_published_ones(admin, rows, stocks, saved):
    data = STATIC | {"cash_like_stocks": stocks}
    data |= formset("targets", [{"symbol": symbol, "weight": weight} for symbol, weight in rows])
    answer = admin.post(reverse("admin:accounts_strategy_add"), data)
    assert (answer.status_code == 302, Strategy.objects.exists()) == (saved, saved)
