"""Commands: exit codes and output."""

import json
import socket
from datetime import datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import Account
from brokers.simulated.faults import Kind, set_fault
from tests.support.makers import carry_out, strategy
from trading.management.demo_data import ACCOUNTS, seed
from trading.management.progress import with_progress
from trading.models import AccountStanding, RebalanceRun
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = {
    "run_id",
    "account_id",
    "mode",
    "state",
    "outcome",
    "error",
    "plan_hash",
    "trades",
    "orders",
    "warnings",
    "total_value",
    "cash_balance",
    "residual_drift",
}


def run(*arguments):
    """Run a command, and return its exit code and output."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_rebalance_json_has_the_documented_keys_and_types(make_account):
    make_account()
    code, out = run("rebalance", "U1", "--exec", "rebalance", "--json")
    body = json.loads(out)
    assert code == 0
    assert set(body) == KEYS
    assert (body["mode"], body["state"], body["error"]) == ("execute", "completed", None)
    assert {"symbol", "quantity", "order_type", "price", "reason"} == set(body["trades"][0])
    assert {
        "client_order_id",
        "broker_order_id",
        "symbol",
        "quantity",
        "filled_quantity",
        "average_price",
        "status",
    } == set(body["orders"][0])
    for money in (body["total_value"], body["cash_balance"], body["residual_drift"], body["trades"][0]["price"]):
        assert isinstance(money, str) and Decimal(money).is_finite()
    assert isinstance(body["trades"][0]["quantity"], int)


def test_rebalance_without_exec_previews(make_account):
    make_account()
    code, out = run("rebalance", "U1")
    assert code == 0 and "Preview" in out and "BUY" in out
    assert RebalanceRun.objects.get().mode == "preview"


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "arguments", "printed"),
    [(StringIO, (), True), (StringIO, ("--json",), False), (Terminal, (), True), (Terminal, ("--json",), True)],
)
def test_rebalance_prints_progress_on_standard_error_by_stream_and_format(make_account, stream, arguments, printed):
    make_account()
    out, err = StringIO(), stream()
    call_command("rebalance", "U1", "--exec", "rebalance", *arguments, stdout=out, stderr=err)
    done = RebalanceRun.objects.get()
    sentences = done.timeline.values_list("message", flat=True)
    assert [sentence for sentence in sentences if sentence in err.getvalue()] == (list(sentences) if printed else [])
    filled = done.orders.count()
    bars = err.getvalue().count(f"{filled} of {filled} orders filled") - printed  # one sentence has it, too
    assert (bars > 0) == (stream is Terminal)
    assert "\x1b" not in out.getvalue()
    assert ("\x1b" in err.getvalue()) == (stream is Terminal)


@pytest.mark.parametrize("stream", [StringIO, Terminal])
def test_with_progress_prints_each_run(make_account, stream):
    runs, err = [carry_out(make_account(), ExecCommand.PRINT_REBALANCE)] * 2, stream()
    assert list(with_progress(runs, "Reconciling", err)) == runs
    assert f"Reconciling run {runs[0].run_id}" in err.getvalue()
    assert "2 of 2" in err.getvalue()


def test_rebalance_exit_codes_by_outcome(make_account):
    make_account("OK")
    make_account("PAUSED", trading_paused=True)
    make_account("DOWN")
    assert run("rebalance", "OK", "--exec", "rebalance")[0] == 0
    assert run("rebalance", "NOBODY")[0] == 2
    assert run("rebalance", "PAUSED", "--exec", "rebalance")[0] == 3
    set_fault(Kind.INCOMPLETE, account_id="DOWN")
    assert run("rebalance", "DOWN", "--exec", "rebalance")[0] == 1


def test_rebalance_with_no_wait_leaves_the_run_queued(make_account):
    make_account()
    code, out = run("rebalance", "U1", "--no-wait", "--json")
    assert (code, json.loads(out)["state"]) == (0, "queued")


def test_runs_and_events_list_newest_first_with_documented_keys(make_account):
    account = make_account()
    carry_out(account)
    run("publish_event", account.strategy.name, "--exec", "print-rebalance", "--message-id", "m-7")
    listed = json.loads(run("runs", "--account", "U1", "--json")[1])
    assert [entry["mode"] for entry in listed] == ["preview", "execute"]
    assert set(listed[0]) == KEYS
    events = json.loads(run("events", "--json")[1])
    assert set(events[0]) == {
        "id",
        "source",
        "channel",
        "message_id",
        "exec",
        "account_id",
        "state",
        "reason",
        "received_at",
    }
    assert (events[0]["source"], events[0]["message_id"], events[0]["exec"]) == ("ably", "m-7", "print-rebalance")
    assert run("runs", "--account", "NOBODY")[0] == 2


def test_accounts_lists_standings_with_documented_keys(make_account):
    """An account that was never read is unknown, and what is not known is null."""
    make_account("U1", cash="200000", strategy=strategy("monthly", {"SPY": "1"}, cadence="monthly"))
    carry_out(Account.objects.get())
    make_account("U2", enabled=False, strategy=None)
    read, unread = json.loads(run("accounts", "--json")[1])
    assert set(read) == {
        "account_id",
        "broker",
        "environment",
        "strategy",
        "enabled",
        "standing",
        "value_usd",
        "cash_usd",
        "return_30d_percent",
        "next_run_at",
    }
    assert (read["account_id"], read["standing"]["state"], read["strategy"]) == ("U1", "inside", "monthly")
    assert Decimal(read["standing"]["largest_drift_pp"]) < 1 and Decimal(read["value_usd"]) > 190_000
    assert datetime.fromisoformat(read["next_run_at"]) > timezone.now()
    assert unread["standing"] | {"reason": ""} == {
        "state": "unknown",
        "as_of": None,
        "largest_drift_pp": None,
        "reason_code": "never_compared",
        "reason": "",
    }
    assert (unread["value_usd"], unread["next_run_at"], unread["enabled"]) == (None, None, False)
    assert "U1" in run("accounts")[1]


@pytest.mark.parametrize(
    "arguments",
    [("--account-id", ""), ("--account-id", " "), ("--message-id", ""), ("--message-id", " "), ("--account-id", "U9")],
)
def test_publish_event_with_an_empty_or_unknown_id_queues_nothing(make_account, arguments):
    """An unset variable of a script must not widen an event to all accounts, or make each call a new event."""
    account = make_account()
    code, output = run("publish_event", account.strategy.name, "--exec", "rebalance", *arguments)
    assert code == 2, output
    assert not RebalanceRun.objects.exists()


def test_publish_event_with_a_rejected_event_exits_with_2(make_account):
    account = make_account()
    code, output = run("publish_event", account.strategy.name, "--exec", "sell-everything")
    assert (code, "unknown_exec" in output) == (2, True)


# ---- schedule


def test_schedule_adds_lists_and_removes_an_account(make_account):
    make_account()
    code, out = run("schedule", "add", "U1", "--json")
    (entry,) = json.loads(out)
    assert (code, entry["account_id"], entry["state"], entry["origin"]) == (0, "U1", "waiting", "command")
    assert "U1" in run("schedule", "list")[1]
    assert run("schedule", "remove", "U1") == (0, "Nothing is scheduled.\n")
    assert run("schedule", "remove", "U1")[0] == 2


def test_schedule_clears_everything_or_one_account(make_account):
    for account_id in ("U1", "U2", "U3"):
        make_account(account_id)
        run("schedule", "add", account_id)
    assert run("schedule", "clear", "U1")[0] == 0
    assert len(json.loads(run("schedule", "list", "--json")[1])) == 2
    assert run("schedule", "clear")[1] == "Nothing is scheduled.\n"


@pytest.mark.parametrize(
    ("arguments", "code"), [(("add",), 2), (("remove",), 2), (("add", "nobody"), 2), (("add", "U1"), 3)]
)
def test_schedule_with_invalid_arguments_exits_with_code(make_account, arguments, code):
    make_account(enabled=False)
    assert run("schedule", *arguments)[0] == code


def test_schedule_wrapper_passes_its_arguments(tmp_path):
    import subprocess
    from pathlib import Path

    script = Path(__file__).parents[3] / "tools" / "schedule.sh"
    copy = tmp_path / "tools" / "schedule.sh"
    copy.parent.mkdir()
    copy.write_text(script.read_text())
    copy.chmod(0o755)
    fake = tmp_path / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)

    def call(*arguments):
        done = subprocess.run([str(copy), *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout.strip()

    assert call("add", "-account", "U1") == (0, "manage.py schedule add U1")
    assert call("add", "U1") == (0, "manage.py schedule add U1")
    assert call("list") == (0, "manage.py schedule list")
    assert call("add", "-x")[0] == 2
    assert call()[0] == 2


def test_demo_with_a_used_port_fails_before_the_setup():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match="PORT=8001"):
            call_command("demo", "--port", str(taken.getsockname()[1]))


def test_demo_shows_how_its_accounts_stand_before_a_worker_runs(still_market):
    """Otherwise its first page could only report that nothing is known."""
    seed()
    found = dict(AccountStanding.objects.values_list("account__account_id", "state"))
    assert found.keys() == ACCOUNTS.keys() and set(found.values()) <= {"inside", "outside"}
    assert found["SIM-1003"] == "outside"  # a fifth of it is cash
    seed()
    assert AccountStanding.objects.count() == len(ACCOUNTS)
