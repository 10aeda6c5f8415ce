"""The main job with the files that existing users have, as they would do it."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
STILL = """
from datetime import datetime, UTC
from brokers.simulated.models import SimulatedMarket
SimulatedMarket.objects.update_or_create(pk=1, defaults=dict(frozen_at=datetime(2026, 11, 24, 15, tzinfo=UTC)))
"""
TO_SIMULATED = """
from accounts.models import Account
from accounts.simulated_accounts import ensure_simulated_account
for account in Account.objects.all():
    account.broker = "simulated"
    account.save()
    ensure_simulated_account(account)
"""


@pytest.fixture(scope="module")
def site(new_installation, allocations_server):
    """The files of shared use imported, the broker changed to the simulated one, the allocations published."""
    allocations_server.reset()
    body = json.loads((DATA / "allocations.example.json").read_text())
    for strategy in ("etf-blend-103-20", "etf-blend-200-35"):
        body["data"]["strategy"] = strategy
        allocations_server.answer(strategy, 200, json.dumps(body))
    site = new_installation(ALLOCATIONS_BASE_URL=allocations_server.url, ALLOCATIONS_API_KEY="key-of-the-service")
    site.manage("import_replacement_sets", DATA / "replacement-sets.yaml")
    site.manage("import_accounts", DATA / "accounts.example.yaml")
    site.python(TO_SIMULATED + STILL)
    return site


def test_export_gives_back_what_was_imported(new_installation, tmp_path):
    site = new_installation()
    site.manage("import_replacement_sets", DATA / "replacement-sets.yaml")
    site.manage("import_accounts", DATA / "accounts.example.yaml")
    assert site.manage("export_accounts").stdout == (DATA / "accounts.example.yaml").read_text()
    assert site.manage("export_replacement_sets").stdout == (DATA / "replacement-sets.yaml").read_text()
    shutil.copy(DATA / "accounts.example.yaml", tmp_path / "again.yaml")
    assert "3 unchanged" in site.manage("import_accounts", tmp_path / "again.yaml").stdout


def test_a_live_account_is_previewed_with_its_replacements_and_not_executed_on_paper(site):
    refused = json.loads(site.manage("rebalance", "U777001", "--exec", "rebalance", "--json", expect=3).stdout)
    assert refused["state"] == "refused"
    assert refused["error"]["code"] == "wrong_environment"
    assert "TRADING_MODE=paper" in refused["error"]["message"]
    preview = json.loads(site.manage("rebalance", "U777001", "--json").stdout)
    assert (preview["state"], preview["mode"], preview["orders"]) == ("completed", "preview", [])
    assert {"VXX", "PDBC", "USDU"} <= {trade["symbol"] for trade in preview["trades"]}
    assert not {"UVXY", "DBC", "UUP"} & {trade["symbol"] for trade in preview["trades"]}


def test_a_worker_executes_what_was_previewed_and_ends_at_the_targets(site):
    preview = json.loads(site.manage("rebalance", "U123456", "--json").stdout)
    assert preview["state"] == "completed"
    site.start("qcluster")
    site.manage("publish_event", "etf-blend-200-35", "--exec", "rebalance", "--message-id", "m-1")
    run = site.finished_run("U123456")
    assert (run["state"], run["mode"], run["error"]) == ("completed", "execute", None)
    assert run["plan_hash"] == preview["plan_hash"]
    assert {order["symbol"]: order["filled_quantity"] for order in run["orders"]} == {
        trade["symbol"]: trade["quantity"] for trade in preview["trades"]
    }
    assert all(order["status"] == "filled" for order in run["orders"])
    # The default policy keeps 0.5 % (utilisation 0.995), and no less than 100 dollars.
    assert Decimal(run["cash_balance"]) >= Decimal(run["total_value"]) * Decimal("0.005")
    dearest = Decimal(700)
    expected_commission = Decimal("0.01") * Decimal(run["total_value"])
    assert Decimal(run["residual_drift"]) * Decimal(run["total_value"]) <= dearest + expected_commission
    # The same message again changes nothing.
    again = site.manage("publish_event", "etf-blend-200-35", "--exec", "rebalance", "--message-id", "m-1").stdout
    assert "came 2 times" in again
    assert len([run for run in site.runs("U123456") if run["mode"] == "execute"]) == 1


def test_the_wrapper_of_existing_installations_still_works(site):
    import subprocess

    from tests.support.installation import ROOT

    wrapper = [ROOT / "tools" / "rebalance.sh", "-account", "U123456", "-exec", "print-rebalance"]
    done = subprocess.run(wrapper, env=site.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Preview" in done.stdout
