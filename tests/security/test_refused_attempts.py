"""Refused attempts in the audit trail: who or which token, what, and why, once a minute."""

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from tests.support.makers import carry_out
from tests.support.two_factor import log_in_without_code, new_device
from trading.access.api_tokens import create_token
from trading.models import AuditEntry
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()


def user(name="ann", *rights):
    person = User.objects.create(username=name, is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return person


def refused():
    rows = AuditEntry.objects.filter(action="refused").order_by("id")
    return list(rows.values_list("person", "token", "subject", "detail"))


def test_page_without_permission_is_recorded_once_a_minute():
    client = log_in_without_code(user())
    for _ in range(3):
        assert client.get("/runs/").status_code == 403
    assert client.get("/admin/accounts/account/").status_code == 403
    assert refused() == [
        ("ann", "", "/runs/", "not_permitted"),
        ("ann", "", "/admin/accounts/account/", "not_permitted"),
    ]


def test_anonymous_requests_are_not_recorded(client):
    client.get("/runs/")
    client.post("/admin/accounts/account/add/")
    assert refused() == []


def test_token_without_scope_or_permission_is_named():
    row, token = create_token("cron", user(), ["read"], days=1)

    def post(path):
        headers = {"authorization": f"Bearer {token}"}
        return Client().post(path, "{}", content_type="application/json", headers=headers).json()["code"]

    assert post("/api/accounts/U1/preview") == "scope_missing"
    answer = Client().get("/api/accounts", headers={"authorization": f"Bearer {token}"})
    assert answer.json()["code"] == "not_permitted"
    assert refused() == [
        ("ann", str(row), "/api/accounts/U1/preview", "scope_missing"),
        ("ann", str(row), "/api/accounts", "not_permitted"),
    ]


def test_approval_by_a_token_names_it(make_account):
    preview = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
    owner = user("robot", "view_account", "preview_account", "execute_account")
    row, token = create_token("cron", owner, ["execute"], days=1)
    Client().post(
        f"/api/runs/{preview.run_id}/execute",
        json.dumps({"plan_hash": preview.plan_hash}),
        content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )
    assert AuditEntry.objects.get(action="approved").token == str(row)


def test_action_without_permission_or_code_is_recorded(make_account):
    preview = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
    url = reverse("trading:execute", args=[preview.run_id])
    ann = user("ann", "view_account")
    log_in_without_code(ann).post(url, {"plan_hash": preview.plan_hash})
    trader = user("trader", "view_account", "execute_account")
    new_device(trader)
    log_in_without_code(trader).post(url, {"plan_hash": preview.plan_hash})
    boss = User.objects.create_superuser("boss")
    new_device(boss)
    log_in_without_code(boss).post("/admin/auth/group/add/", {"name": "mine"})
    assert refused() == [
        ("ann", "", url, "not_permitted"),
        ("trader", "", url, "code_needed"),
        ("boss", "", "/admin/auth/group/add/", "fresh_code_needed"),
    ]
