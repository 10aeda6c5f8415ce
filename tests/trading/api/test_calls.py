"""What the API does: the same as the pages, through the same services."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, queue
from trading.engine.slot_worker import work_slot
from trading.models import AuditEntry, RebalanceRun, StrategyEvent
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)


def work(run_id):
    run = RebalanceRun.objects.get(run_id=run_id)
    work_slot(run.connection_id)


def test_preview_then_exactly_that_plan(make_account, call):
    make_account()
    caller = call()
    status, preview = caller.post("/accounts/U1/preview")
    assert (status, preview["state"], preview["mode"]) == (202, "queued", "preview")
    work(preview["run_id"])
    _, preview = caller.get(f"/runs/{preview['run_id']}")
    assert preview["state"] == "completed" and len(preview["plan_hash"]) == 64
    status, run = caller.post(f"/runs/{preview['run_id']}/execute", {"plan_hash": preview["plan_hash"]})
    assert status == 202
    work(run["run_id"])
    _, done = caller.get(f"/runs/{run['run_id']}")
    assert (done["state"], done["plan_hash"]) == ("completed", preview["plan_hash"])
    assert {order["status"] for order in done["orders"]} == {"filled"}
    assert RebalanceRun.objects.get(run_id=run["run_id"]).event.source == "api"
    again = caller.post(f"/runs/{preview['run_id']}/execute", {"plan_hash": preview["plan_hash"]})
    assert (again[0], again[1]["run_id"]) == (202, run["run_id"])
    entry = AuditEntry.objects.get(action="approved")
    assert (entry.person, preview["plan_hash"] in entry.detail) == ("robot", True)


def test_another_plan_is_not_sent(make_account, call):
    make_account()
    caller = call()
    run_id = caller.post("/accounts/U1/preview")[1]["run_id"]
    assert caller.post(f"/runs/{run_id}/execute", {"plan_hash": "0" * 64})[1]["code"] == "preview_superseded"
    work(run_id)
    status, answer = caller.post(f"/runs/{run_id}/execute", {"plan_hash": "0" * 64})
    assert (status, answer["code"]) == (409, "plan_hash_mismatch")
    assert caller.post(f"/runs/{run_id}/execute", {"plan_hash": "short"})[1]["code"] == "request_invalid"
    assert not SimulatedOrder.objects.exists()


def test_stopping_a_queued_run_cancels_it(make_account, call):
    make_account()
    caller = call()
    run_id = caller.post("/accounts/U1/preview")[1]["run_id"]
    work(run_id)
    plan = caller.get(f"/runs/{run_id}")[1]["plan_hash"]
    run_id = caller.post(f"/runs/{run_id}/execute", {"plan_hash": plan})[1]["run_id"]
    status, run = caller.post(f"/runs/{run_id}/stop")
    assert (status, run["run_id"], run["state"], run["outcome"]) == (202, run_id, "stopped", "stopped")
    _, run = caller.get(f"/runs/{run_id}")
    assert (run["state"], run["error"]["code"], run["orders"]) == ("stopped", "run_stopped", [])
    assert not SimulatedOrder.objects.exists()
    assert caller.post(f"/runs/{run_id}/stop")[1]["code"] == "run_ended"


def test_stopping_takes_the_right_to_trade_the_very_account(make_account, call, owner, settings):
    settings.TRADING_MODE = "live"
    account = make_account(type="live")
    run = queue(account, ExecCommand.PRINT_REBALANCE)
    assert call("read", "preview", "events").post(f"/runs/{run.run_id}/stop")[1]["code"] == "scope_missing"
    owner.user_permissions.remove(*owner.user_permissions.filter(codename="execute_live_account"))
    assert call("execute").post(f"/runs/{run.run_id}/stop")[1]["code"] == "not_permitted"
    run.refresh_from_db()
    assert run.stop_requested_at is None


def test_an_event_comes_in_once(make_account, call):
    account = make_account()
    caller = call()
    event = {"channel": account.strategy.name, "message_id": "m1", "payload": {"exec": "rebalance"}}
    status, first = caller.post("/events", event)
    assert (status, first["state"], len(first["runs"])) == (202, "accepted", 1)
    status, again = caller.post("/events", event)
    assert (status, again["id"], again["duplicates"]) == (200, first["id"], 1)
    assert RebalanceRun.objects.count() == 1
    status, other = caller.post("/events", event | {"payload": {"exec": "print-rebalance"}})
    assert (status, other["code"]) == (409, "conflicting_duplicate")
    assert caller.get(f"/events/{first['id']}")[1]["runs"][0]["account_id"] == "U1"


def test_an_event_is_answered_with_as_many_queries_for_many_accounts_as_for_few(make_account, call):
    account, caller = make_account(), call("events")

    def send(message_id):
        event = {"channel": account.strategy.name, "message_id": message_id, "payload": {"exec": "print-rebalance"}}
        with CaptureQueriesContext(connection) as queries:
            status, answer = caller.post("/events", event)
        assert status == 202
        return len(queries), len(answer["runs"])

    send("first")
    few = send("second")
    for number in range(2, 5):
        make_account(f"U{number}", strategy=account.strategy)
    send("third")
    assert (send("fourth"), few) == ((few[0], 4), (few[0], 1))


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"channel": "nobody"}, 422, "unknown_strategy"),
        ({"payload": {"exec": "sell-everything"}}, 422, "unknown_exec"),
        ({"payload": {}}, 422, "payload_invalid"),
        ({"payload": {"exec": "rebalance", "account_id": "U9"}}, 422, "unknown_account"),
        ({"payload": "rebalance"}, 422, "request_invalid"),
        ({"message_id": ""}, 422, "request_invalid"),
        ({"surprise": 1}, 422, "request_invalid"),
    ],
)
def test_an_event_that_cannot_be_meant(make_account, call, change, status, code):
    account = make_account()
    event = {"channel": account.strategy.name, "message_id": "m1", "payload": {"exec": "rebalance"}} | change
    answered, body = call().post("/events", event)
    assert (answered, body["code"]) == (status, code)
    assert not RebalanceRun.objects.exists()


def test_an_event_that_orders_takes_the_scope_and_the_right_to_order(make_account, call, owner):
    account = make_account()
    order = {"channel": account.strategy.name, "message_id": "m1", "payload": {"exec": "rebalance"}}
    look = order | {"payload": {"exec": "print-rebalance"}}
    assert call("events").post("/events", order)[1]["code"] == "scope_missing"
    assert call("events").post("/events", look)[0] == 202
    owner.user_permissions.remove(*owner.user_permissions.filter(codename="execute_account"))
    assert call("events", "execute").post("/events", order | {"message_id": "m2"})[1]["code"] == "not_permitted"
    assert StrategyEvent.objects.count() == 1


def test_nothing_there(call):
    caller = call()
    for path, code in (
        ("/accounts/NOBODY", "unknown_account"),
        ("/accounts/NOBODY/runs", "unknown_account"),
        ("/strategies/nothing", "unknown_strategy"),
        ("/runs/nothing", "unknown_run"),
        ("/events/99", "unknown_event"),
        ("/elsewhere", "not_found"),
    ):
        status, body = caller.get(path)
        assert (status, body["code"], bool(body["message"])) == (404, code, True)
    assert caller.post("/accounts")[1]["code"] == "method_not_allowed"


def test_lists_show_what_is_there(make_account, call):
    account = make_account(positions={"GLD": "5"})
    carry_out(account)
    caller = call("read")
    listed = caller.get("/accounts")[1]["accounts"][0]
    assert (listed["account_id"], listed["strategy"]) == ("U1", account.strategy.name)
    assert float(listed["total_value"]) > 90_000 and isinstance(listed["cash_balance"], str)
    assert caller.get("/accounts/U1")[1] == listed
    assert set(listed["standing"]) == {"state", "as_of", "largest_drift_pp", "reason_code", "reason"}
    assert (listed["environment"], listed["standing"]["state"], listed["next_run_at"]) == ("paper", "inside", None)
    assert listed["value_usd"] == listed["total_value"] and listed["cash_usd"] == listed["cash_balance"]
    strategy = caller.get(f"/strategies/{account.strategy.name}")[1]
    assert (strategy["accounts"], len(strategy["targets"])) == (["U1"], 2)
    assert caller.get("/strategies")[1]["strategies"] == [strategy]
    assert caller.get("/accounts/U1/runs")[1] == caller.get("/runs")[1]
    assert caller.get("/runs", offset=1)[1] == {"runs": []}
    assert caller.get("/runs", limit=0)[1]["code"] == "request_invalid"


@pytest.mark.parametrize("path", ["/accounts", "/strategies", "/runs", "/events", "/accounts/N0/runs"])
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(make_account, call, path):
    caller = call("read")

    def fill(start, stop):
        for i in range(start, stop):
            carry_out(make_account(f"N{i}"))
            carry_out(
                make_account("N0") if i < 0 else RebalanceRun.objects.first().account, ExecCommand.PRINT_REBALANCE
            )

    fill(0, 2)
    caller.get(path)
    with CaptureQueriesContext(connection) as few:
        assert caller.get(path)[0] == 200
    fill(2, 5)
    with CaptureQueriesContext(connection) as many:
        assert caller.get(path)[0] == 200
    assert len(many) == len(few)


def test_a_preview_that_is_too_old_is_not_sent(make_account, call):
    make_account()
    caller = call()
    run_id = caller.post("/accounts/U1/preview")[1]["run_id"]
    work(run_id)
    RebalanceRun.objects.update(plan_expires_at=timezone.now() - timedelta(seconds=1))
    plan = caller.get(f"/runs/{run_id}")[1]["plan_hash"]
    status, body = caller.post(f"/runs/{run_id}/execute", {"plan_hash": plan})
    assert (status, body["code"]) == (409, "preview_expired")


def test_what_breaks_is_told_as_json_without_details(make_account, call, monkeypatch):
    make_account()
    monkeypatch.setattr("trading.api.read_endpoints._account_lines", lambda _: 1 / 0)
    status, body = call().get("/accounts")
    assert (status, body["code"]) == (500, "internal_error")
    assert "ZeroDivision" not in body["message"]


@pytest.mark.parametrize(
    ("change", "query", "code", "named"),
    [
        ({"payload": {"exec": "rebalance", "account": "U1"}}, "", "payload_invalid", "'account'"),
        ({"payload": {"exec": "rebalance", "accounts": ["U1"]}}, "", "payload_invalid", "'accounts'"),
        ({"payload": {"exec": "rebalance", "accountIds": ["U1"]}}, "", "payload_invalid", "'accountIds'"),
        ({"payload": {"exec": "rebalance", "Account-Id": "U1"}}, "", "payload_invalid", "'Account-Id'"),
        ({"payload": {"exec": "rebalance", "account_id": ["U1"]}}, "", "payload_invalid", "account_id"),
        ({"payload": {"exec": "rebalance", "account_id": True}}, "", "payload_invalid", "account_id"),
        ({"account_id": "U1"}, "", "request_invalid", "account_id"),
        ({"accountId": "U1"}, "", "request_invalid", "accountId"),
        ({"accounts": ["U1"]}, "", "request_invalid", "accounts"),
        ({"x" * 100_000: 1}, "", "request_invalid", "xxx"),
        ({}, "?account_id=U1", "request_invalid", "account_id"),
    ],
)
def test_submit_event_with_an_account_it_would_ignore_is_refused_by_name(
    make_account, call, change, query, code, named
):
    account = make_account()
    event = {"channel": account.strategy.name, "message_id": "m1", "payload": {"exec": "rebalance"}} | change
    status, answer = call().post(f"/events{query}", event)
    assert (status, answer["code"]) == (422, code)
    assert named in answer["message"] and len(answer["message"]) < 500
    assert not RebalanceRun.objects.exists()


def test_submit_event_that_names_a_key_twice_is_refused(make_account, call):
    account, caller = make_account(), call()
    payload = '{"exec":"rebalance","account_id":"U1","account_id":null}'
    body = f'{{"channel":"{account.strategy.name}","message_id":"m1","payload":{payload}}}'
    answer = caller.client.post("/api/events", body, content_type="application/json", headers=caller.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert not RebalanceRun.objects.exists()


@pytest.mark.parametrize("key", ["account_id", "accountId"])
def test_submit_event_for_one_account_concerns_only_it(make_account, call, key):
    account = make_account()
    make_account("1001", strategy=account.strategy)
    event = {"channel": account.strategy.name, "message_id": 7, "payload": {"exec": "rebalance", key: 1001}}
    status, answer = call().post("/events", event)
    assert answer["message_id"] == "7"
    assert (status, [run["account_id"] for run in answer["runs"]]) == (202, ["1001"])


def test_submit_event_nested_too_deeply_is_refused(make_account, call):
    caller = call()
    body = '{"channel": "blend", "message_id": "m1", "payload": {"exec": "rebalance", "data": ' + "[" * 100_000
    answer = caller.client.post("/api/events", body, content_type="application/json", headers=caller.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
