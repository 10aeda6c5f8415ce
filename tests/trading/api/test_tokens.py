"""Who is let in, for what, and how often."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from trading.access.api_tokens import create_token, revoke
from trading.access.roles import sync_roles
from trading.access.two_factor import pending_device
from trading.api.auth import INVALID_TOKENS_PER_MINUTE
from trading.models import ApiToken, AuditEntry

pytestmark = pytest.mark.django_db


def test_a_token_is_kept_as_a_digest_only(owner):
    row, token = create_token("x", owner, ["read"], days=1)
    assert token.startswith("rbt_") and len(token) > 40
    stored = " ".join(str(value) for value in ApiToken.objects.values().get().values())
    assert token not in stored and row.beginning == token[:10]


def spoilt(row, owner, how):
    if how == "revoked":
        revoke(row)
    elif how == "expired":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "owner gone":
        owner.is_active = False
        owner.save()


@pytest.mark.parametrize("how", ["revoked", "expired", "owner gone", "unknown", "none", "wrong kind"])
def test_who_is_not_let_in(owner, call, how):
    row, token = create_token("x", owner, ["read"], days=1)
    spoilt(row, owner, how)
    token = {"unknown": "rbt_" + "x" * 40, "none": "", "wrong kind": "session"}.get(how, token)
    status, body = call(token=token).get("/accounts")
    assert (status, body["code"]) == (401, "token_invalid")


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("read", "/accounts/U1/preview"),
        ("preview", "/runs/abc/execute"),
        ("execute", "/events"),
        ("events", "/runs/abc/stop"),
    ],
)
def test_a_scope_opens_its_own_door_only(call, scope, path):
    body = {"plan_hash": "0" * 64} if "execute" in path else {"channel": "x", "message_id": "m", "payload": {}}
    status, answer = call(scope).post(path, body)
    assert (status, answer["code"]) == (403, "scope_missing")


def test_a_token_may_no_more_than_its_owner(owner, call):
    caller = call()
    owner.user_permissions.clear()
    for status, answer in (caller.get("/accounts"), caller.post("/accounts/U1/preview")):
        assert (status, answer["code"]) == (403, "not_permitted")


def test_the_rate_is_limited_for_each_token_and_counted_in_the_database(call, settings, time_machine):
    time_machine.move_to(datetime(2026, 11, 24, 15, 0, 30, tzinfo=UTC), tick=False)
    settings.API_REQUESTS_PER_MINUTE = 3
    caller, other = call("read"), call("read")
    assert [caller.get("/accounts")[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    assert caller.get("/accounts")[1]["code"] == "rate_limited"
    assert other.get("/accounts")[0] == 200
    time_machine.shift(timedelta(seconds=30))
    assert caller.get("/accounts")[0] == 200


def test_invalid_tokens_from_many_addresses_are_logged_once_and_do_not_block_valid_ones(call, time_machine, caplog):
    time_machine.move_to(datetime(2026, 11, 24, 16, 0, 30, tzinfo=UTC), tick=False)
    good = call("read")

    def wrong(number):
        answer = good.client.get(
            "/api/accounts", headers={"authorization": f"Bearer rbt_{number}"}, REMOTE_ADDR=f"198.51.100.{number}"
        )
        return answer.status_code, answer.json()["code"]

    answers = Counter(wrong(number) for number in range(INVALID_TOKENS_PER_MINUTE + 3))
    assert answers == {(401, "token_invalid"): INVALID_TOKENS_PER_MINUTE, (429, "rate_limited"): 3}
    assert good.get("/accounts")[0] == 200
    (warning,) = [line for line in caplog.messages if "invalid API token" in line]
    assert f"198.51.100.{INVALID_TOKENS_PER_MINUTE}" in warning
    time_machine.shift(timedelta(seconds=30))
    assert wrong(1)[0] == 401


def test_the_command_prints_it_once(owner, call):
    out = StringIO()
    call_command("create_api_token", "cron", "--user", "robot", "--scope", "read", "--days", "2", stdout=out)
    assert call(token=out.getvalue().strip()).get("/accounts")[0] == 200
    assert "cron" in AuditEntry.objects.get(action="api token added").subject
    with pytest.raises(CommandError, match="no active user"):
        call_command("create_api_token", "cron", "--user", "nobody")


@pytest.fixture
def operator():
    sync_roles()
    person = User.objects.create(username="op", is_staff=True)
    person.groups.add(Group.objects.get(name="operator"))
    client = Client()
    client.force_login(person)
    return client, person


def make_in_admin(client, *scopes):
    fields = {"name": "mine", "scopes": scopes, "days": 30}
    return client.post("/admin/trading/apitoken/add/", fields, follow=True).content.decode()


def test_a_person_makes_their_own_in_the_admin_and_sees_it_once(operator, call):
    client, person = operator
    page = make_in_admin(client, "read")
    token = page.split("shown again: ")[1].split("<")[0].strip()
    row = ApiToken.objects.get()
    assert (row.owner, row.scopes) == (person, ["read"])
    assert call(token=token).get("/accounts")[0] == 200
    assert token not in client.get("/admin/trading/apitoken/").content.decode()
    assert token not in client.get(f"/admin/trading/apitoken/{row.pk}/change/").content.decode()
    client.post("/admin/trading/apitoken/", {"action": "revoke_tokens", "_selected_action": [row.pk]})
    assert call(token=token).get("/accounts")[0] == 401
    assert AuditEntry.objects.filter(person="op", action="api token revoked").exists()


def test_nobody_sees_the_tokens_of_others(operator, owner):
    create_token("secret-purpose", owner, ["read"], days=1)
    assert "secret-purpose" not in operator[0].get("/admin/trading/apitoken/").content.decode()


@pytest.mark.parametrize(("required", "made"), [("nothing", True), ("live", False), ("execute", False)])
def test_a_token_that_executes_takes_a_code_where_codes_are_used(operator, settings, required, made):
    settings.ONE_TIME_CODES_REQUIRED_FOR = required
    client, person = operator
    page = make_in_admin(client, "execute")
    assert (ApiToken.objects.exists(), "two-factor" in page) == (made, not made)
    device = pending_device(person)
    device.confirmed = True
    device.save()
    assert "Log in with a two-factor code" in make_in_admin(client, "execute")
