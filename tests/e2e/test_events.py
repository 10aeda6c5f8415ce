"""Events that go wrong, one after the other, against one running site: workers, queue, HTTP service, all real."""

import json
import os
import signal
from pathlib import Path

import pytest

SETUP = """
from decimal import Decimal
from datetime import datetime, UTC
from accounts.models import Account, RebalancePolicy, Strategy
from accounts.simulated_accounts import ensure_simulated_account
from brokers.simulated.models import SimulatedMarket
SimulatedMarket.objects.update_or_create(pk=1, defaults=dict(
    frozen_at=datetime(2026, 11, 24, 15, tzinfo=UTC), fill_latency_seconds=0.1, quote_latency_seconds=0.05))
RebalancePolicy.objects.filter(is_default=True).update(allocation_timeout_seconds=2, order_timeout_seconds=5)
for name in {names!r}:
    strategy = Strategy.objects.create(name=name)
    account = Account.objects.create(account_id="A-" + name, broker="simulated", strategy=strategy, trade_guard="none")
    ensure_simulated_account(account)
"""
GOOD = [("SPY", 0.6), ("IEF", 0.4)]


def body(strategy, *rows):
    return json.dumps({"status": "success", "data": {"strategy": strategy, "allocations": list(rows)}})


ANSWERS = {
    "is-500": (500, "{}", "allocations_http_error"),
    "is-not-json": (200, "<html>login</html>", "allocations_not_json"),
    "has-wrong-shape": (200, '{"status": "success", "data": {"allocations": {"SPY": 1}}}', "allocations_wrong_shape"),
    "is-negative": (200, [("SPY", 1.2), ("IEF", -0.2)], "allocations_negative"),
    "sums-to-1-3": (200, [("SPY", 0.7), ("IEF", 0.6)], "allocations_above_one"),
    "is-empty": (200, [], "allocations_empty"),
    "has-duplicates": (200, [("SPY", 0.5), ("SPY", 0.5)], "allocations_duplicate"),
    "redirects": (302, "", "allocations_redirected"),
    "has-unknown-symbol": (200, [("SPY", 0.5), ("NOSUCH", 0.5)], "unknown_symbol"),
}
OTHERS = ("is-slow", "is-good", "is-disabled", "is-twice", "is-a-burst", "is-rejected", "is-partial", "is-killed")


@pytest.fixture(scope="module")
def site(new_installation, allocations_server):
    allocations_server.reset()
    for name, (status, content, _) in ANSWERS.items():
        if isinstance(content, list):
            allocations_server.publish(name, content)
        else:
            allocations_server.answer(name, status, content, {"Location": "http://192.0.2.1/"} if status == 302 else {})
    for name in OTHERS:
        allocations_server.publish(name, GOOD)
    allocations_server.hang("is-slow")
    site = new_installation(ALLOCATIONS_BASE_URL=allocations_server.url)
    site.python(SETUP.format(names=(*ANSWERS, *OTHERS)))
    site.worker = site.start("qworker")
    return site


def publish(site, strategy, *arguments, expect=0):
    command = ("publish_event", strategy, "--exec", "rebalance", *arguments)
    return site.manage(*command, expect=expect) if expect else site.command(*command)


def orders_at_the_broker(site, account):
    code = f"""
import json
from brokers.simulated.models import SimulatedOrder
print(json.dumps(list(SimulatedOrder.objects.filter(account__account_id={account!r}).values_list("client_order_id", flat=True))))
"""
    return json.loads(site.python(code))


def set_fault(site, kind, account, **fields):
    site.python(
        f"from brokers.simulated.faults import Kind, set_fault; set_fault(Kind.{kind}, account_id={account!r}, **{fields!r})"
    )


@pytest.mark.parametrize("strategy", ANSWERS)
def test_targets_that_cannot_be_used_trade_nothing_and_say_why(site, strategy):
    publish(site, strategy)
    run = site.finished_run(f"A-{strategy}")
    assert run["state"] in {"failed", "refused"}
    assert run["error"]["code"] == ANSWERS[strategy][2]
    assert run["error"]["message"].endswith((".", "list.", "address."))
    assert run["orders"] == []


@pytest.mark.one_database
def test_a_service_that_does_not_answer_ends_the_run_at_its_deadline(site):
    publish(site, "is-slow")
    run = site.finished_run("A-is-slow")
    assert (run["state"], run["error"]["code"], run["orders"]) == ("failed", "allocations_timeout", [])


@pytest.mark.one_database
def test_a_service_that_is_down_fails_the_run(new_installation):
    site = new_installation(ALLOCATIONS_BASE_URL="http://127.0.0.1:9")
    site.python(SETUP.format(names=("is-down",)))
    run = json.loads(site.manage("rebalance", "A-is-down", "--exec", "rebalance", "--json", expect=1).stdout)
    assert (run["state"], run["error"]["code"], run["orders"]) == ("failed", "allocations_unreachable", [])


def test_an_unknown_account_is_rejected(site):
    assert "unknown_account" in publish(site, "is-good", "--account-id", "NOBODY", expect=2).stderr
    event = site.events()[0]
    assert (event["state"], event["account_id"]) == ("rejected", "NOBODY")
    assert event["reason"].startswith("unknown_account")
    assert "unknown_account" in site.manage("rebalance", "NOBODY", expect=2).stderr


def test_a_disabled_account_is_skipped_with_a_reason(site):
    site.python(
        'from accounts.models import Account; Account.objects.filter(pk__gt=0, account_id="A-is-disabled").update(enabled=False)'
    )
    publish(site, "is-disabled")
    run = site.finished_run("A-is-disabled")
    assert (run["state"], run["error"]["code"]) == ("refused", "account_disabled")
    site.manage("rebalance", "A-is-disabled", "--exec", "rebalance", expect=3)


def test_a_rejected_order_is_reported_and_the_others_are_filled(site):
    set_fault(site, "REJECT", "A-is-rejected", symbol="SPY", message="No trading permission")
    publish(site, "is-rejected")
    run = site.finished_run("A-is-rejected")
    assert run["state"] == "completed"
    assert {order["symbol"]: order["status"] for order in run["orders"]} == {"SPY": "rejected", "IEF": "filled"}
    assert "No trading permission" in run["warnings"][-1]["message"]


def test_a_partial_fill_is_cancelled_at_its_deadline(site):
    set_fault(site, "PARTIAL", "A-is-partial", symbol="IEF", number=0.5)
    publish(site, "is-partial")
    run = site.finished_run("A-is-partial")
    order = next(order for order in run["orders"] if order["symbol"] == "IEF")
    assert (run["state"], order["status"]) == ("completed", "cancelled")
    assert 0 < order["filled_quantity"] < order["quantity"]


def test_the_same_event_twice_is_one_run(site):
    publish(site, "is-twice", "--message-id", "one")
    publish(site, "is-twice", "--message-id", "one")
    site.finished_run("A-is-twice")
    assert len(site.runs("A-is-twice")) == 1


PATIENT = """
from accounts.models import Account, RebalancePolicy
patient = dict(allocation_timeout_seconds=2, order_timeout_seconds=300)
policy, _ = RebalancePolicy.objects.get_or_create(name="patient", defaults=patient)
Account.objects.filter(account_id="A-{name}").update(policy=policy)
"""


FILL_NOW = """
from django.utils import timezone
from brokers.simulated.models import SimulatedOrder
SimulatedOrder.objects.filter(account__account_id="A-{name}", status="WORKING").update(next_fill_at=timezone.now())
"""


def test_of_two_events_at_once_the_second_waits_and_the_newest_targets_win(site, allocations_server):
    site.python(PATIENT.format(name="is-a-burst"))
    set_fault(site, "SLOW", "A-is-a-burst", symbol="SPY", number=600)
    publish(site, "is-a-burst")
    site.wait_for(lambda: orders_at_the_broker(site, "A-is-a-burst"), "The first order")
    allocations_server.publish("is-a-burst", [("SPY", 0.2), ("IEF", 0.8)])
    publish(site, "is-a-burst")
    publish(site, "is-a-burst")
    assert site.runs("A-is-a-burst")[-1]["state"] == "running"
    site.python(FILL_NOW.format(name="is-a-burst"))
    site.wait_for(
        lambda: all(run["state"] in {"completed", "superseded"} for run in site.runs("A-is-a-burst")),
        "The end of all runs",
    )
    newest, middle, first = site.runs("A-is-a-burst")
    assert (first["state"], middle["state"], newest["state"]) == ("completed", "superseded", "completed")
    assert any(order["symbol"] == "SPY" and order["quantity"] < 0 for order in newest["orders"])


def test_a_run_whose_worker_is_killed_is_taken_up_again_and_nothing_is_sent_twice(site):
    site.python(PATIENT.format(name="is-killed"))
    set_fault(site, "SLOW", "A-is-killed", symbol="SPY", number=60)
    publish(site, "is-killed")
    site.wait_for(lambda: len(orders_at_the_broker(site, "A-is-killed")) == 2, "Two orders at the broker")
    site.kill(site.worker)
    left = site.runs("A-is-killed")[0]["state"]
    site.worker = site.start("qworker")
    assert left == "running"
    run = site.finished_run("A-is-killed")
    assert run["state"] == "completed", run
    sent = orders_at_the_broker(site, "A-is-killed")
    assert len(sent) == len(set(sent))
    assert all(order["status"] in {"filled", "cancelled"} for order in run["orders"])
    held = json.loads(
        site.python(
            "import json; from tests.support.makers import held; print(json.dumps({k: int(v) for k, v in held('A-is-killed').items()}))"
        )
    )
    filled = {}
    for order in run["orders"]:
        filled[order["symbol"]] = filled.get(order["symbol"], 0) + order["filled_quantity"]
    assert held == filled


def children_of(pid):
    """Process ids of the children, in the order in which they were started."""

    def fields(stat):
        return stat.read_text().rpartition(")")[2].split()

    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *rest = fields(stat)
        except OSError:
            continue  # it has ended meanwhile
        if int(parent) == pid and state != "Z":
            found.append((int(rest[17]), int(stat.parent.name)))
    return [child for _, child in sorted(found)]


@pytest.mark.parametrize("part", ["sentinel", "worker", "monitor", "pusher"])
def test_when_an_idle_part_is_killed_the_cluster_ends_whole_and_the_next_works(site, part):
    (sentinel,) = site.wait_for(lambda: children_of(site.worker.pid), "The sentinel")
    *workers, monitor, pusher = site.wait_for(lambda: (found := children_of(sentinel))[5:] and found, "Six processes")
    victim = {"sentinel": sentinel, "worker": workers[0], "monitor": monitor, "pusher": pusher}[part]
    os.kill(victim, signal.SIGKILL)
    assert site.worker.wait(20) == 70
    site.kill(site.worker)  # what a supervisor's control group ends: a killed sentinel leaves its children behind
    site.worker = site.start("qworker")
    publish(site, "is-good")
    assert site.finished_run("A-is-good")["state"] == "completed"
