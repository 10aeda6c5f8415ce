"""The admin of accounts, strategies and replacement sets."""

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


def test_an_account_is_added_with_books_and_a_slot(admin):
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
def test_an_accounts_error_names_its_field(admin, field, value):
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


def test_a_strategys_weights_that_are_too_many_say_by_how_much(admin):
    rows = [{"symbol": "SPY", "weight": "0.7"}, {"symbol": "IEF", "weight": "0.4"}]
    data = {
        "name": "mine",
        "source": "static",
        "late_event_policy": "preview",
        "late_after_seconds": "900",
        "enabled": "on",
    }
    answer = admin.post(reverse("admin:accounts_strategy_add"), data | formset("targets", rows))
    assert "1.1, which is 0.1 too much" in answer.content.decode()
    assert not Strategy.objects.exists()


def test_a_replacement_sets_circle_is_named(admin):
    rows = [{"source": "A", "target": "B", "scale": "1"}, {"source": "B", "target": "A", "scale": "1"}]
    answer = admin.post(reverse("admin:accounts_replacementset_add"), {"name": "mine"} | formset("rules", rows))
    assert "A → B → A" in answer.content.decode()
    assert not ReplacementSet.objects.exists()


def test_a_new_default_policy_takes_the_place_of_the_old(admin):
    old = RebalancePolicy.objects.get(is_default=True)
    url = reverse("admin:accounts_rebalancepolicy_change", args=[old.pk])
    values = {
        k: v for k, v in admin.get(url).context["adminform"].form.initial.items() if v is not None and v is not False
    }
    answer = admin.post(reverse("admin:accounts_rebalancepolicy_add"), values | {"name": "new", "is_default": "on"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert RebalancePolicy.objects.get(is_default=True).name == "new"


def test_every_change_of_an_account_is_in_its_history(admin):
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


def test_pausing_takes_the_right_to_change(client):
    account = Account.objects.create(account_id="A1", broker="simulated")
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    data = {"action": "pause_trading", "_selected_action": [account.pk]}
    assert client.post(reverse("admin:accounts_account_changelist"), data).status_code == 403
    client.force_login(User.objects.create_superuser("admin"))
    client.post(reverse("admin:accounts_account_changelist"), data)
    account.refresh_from_db()
    assert account.trading_paused


@pytest.mark.parametrize("model", CHANGELISTS)
def test_a_list_takes_as_many_queries_for_fifty_rows_as_for_five(admin, django_assert_num_queries, model):
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
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert admin.get(url).status_code == 200
    fill(5, 50)
    with CaptureQueriesContext(connection) as many:
        assert admin.get(url).status_code == 200
    assert len(many) == len(few)


def test_the_queues_own_pages_are_gone(admin):
    from django.contrib.admin import site
    from django_q.models import Schedule

    assert not site.is_registered(Schedule)
    assert admin.get("/admin/django_q/schedule/").status_code == 404


def test_every_page_of_the_admin_opens(admin):
    from django.contrib.admin import site

    Account.objects.create(account_id="A1", broker="simulated")
    for model in site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        assert admin.get(reverse(f"admin:{name}_changelist")).status_code == 200, name
    assert admin.get(reverse("admin:index")).status_code == 200


def test_a_fault_can_be_set_for_a_demonstration(admin):
    from brokers.simulated.faults import Kind, take_fault

    data = {"kind": "reject", "symbol": "SPY", "remaining": "1", "number": "0", "message": "Not today"}
    admin.post(reverse("admin:simulated_simulatedfault_add"), data)
    assert take_fault(Kind.REJECT, "A1", "SPY").message == "Not today"
    assert take_fault(Kind.REJECT, "A1", "SPY") is None
