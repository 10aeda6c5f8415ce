"""From the Preview button to the orders, as people with different rights."""

import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from brokers.simulated import matching_engine
from brokers.simulated.models import SimulatedMarket, SimulatedOrder
from tests.support.makers import carry_out, held, policy
from tests.support.two_factor import code_of, new_device
from trading.engine.slot_worker import work_slot
from trading.journal.claims import claim_runs
from trading.journal.leases import claim_lease
from trading.models import AuditEntry, Authenticator, RebalanceRun, TradingControl
from trading.serializers import rebalance_result

pytestmark = pytest.mark.django_db(transaction=True)
PERMISSIONS = {
    "viewer": ["view_account"],
    "operator": ["view_account", "preview_account"],
    "trader": ["view_account", "preview_account", "execute_account"],
    "live_trader": ["view_account", "preview_account", "execute_account", "execute_live_account"],
}


@pytest.fixture
def people(transactional_db):
    def person(name):
        user, new = User.objects.get_or_create(username=name, defaults={"is_staff": True})
        if new:
            user.user_permissions.set(Permission.objects.filter(codename__in=PERMISSIONS[name]))
        return user

    return person


@pytest.fixture
def log_in(client, people):
    def enter(name):
        client.force_login(people(name))
        return client

    return enter


def page(client, run):
    return client.get(reverse("trading:run", args=[run.run_id])).content.decode()


def previewed(client, account):
    client.post(reverse("trading:preview", args=[account.account_id]))
    run = RebalanceRun.objects.order_by("-id").first()
    work_slot(run.connection_id)
    run.refresh_from_db()
    return run


def send(client, run, **fields):
    return client.post(
        reverse("trading:execute", args=[run.run_id]), {"plan_hash": run.plan_hash, **fields}, follow=True
    )


def messages(answer):
    return " ".join(str(message) for message in answer.context["messages"])


def finish():
    run = RebalanceRun.objects.order_by("-id").first()
    work_slot(run.connection_id)
    run.refresh_from_db()
    return run


def test_preview_then_exactly_that_plan(log_in, make_account):
    client, account = log_in("trader"), make_account(positions={"VTI": "30"}, cash="20000")
    preview = previewed(client, account)
    text = page(client, preview)
    assert 'data-state="ready"' in text
    assert re.search(rf"Submit\s+{len(preview.result['trades'])}\s+orders", text)
    send(client, preview)
    run = finish()
    assert (run.state, run.approved_preview, run.plan_hash) == ("completed", preview, preview.plan_hash)
    assert {order.symbol: order.filled_quantity for order in run.orders.all()} == {
        trade["symbol"]: trade["quantity"] for trade in preview.result["trades"]
    }
    assert run.requested_by.username == "trader"
    assert "5 of" not in page(client, run)
    assert f"{run.orders.count()} of {run.orders.count()} orders filled" in page(client, run)


def test_two_clicks_are_one_run(log_in, make_account):
    client = log_in("trader")
    preview = previewed(client, make_account())
    first, second = send(client, preview), send(client, preview)
    assert first.redirect_chain == second.redirect_chain
    assert RebalanceRun.objects.filter(mode="execute").count() == 1


@pytest.mark.parametrize(("name", "said"), [("viewer", "(accounts.preview_account)"), ("operator", "")])
def test_a_preview_takes_its_right(log_in, make_account, name, said):
    client, account = log_in(name), make_account()
    answer = client.post(reverse("trading:preview", args=[account.account_id]), follow=True)
    assert said in messages(answer)
    assert RebalanceRun.objects.exists() == (not said)


def test_sending_takes_its_right_and_the_page_says_so(log_in, make_account):
    client = log_in("operator")
    preview = previewed(client, make_account())
    assert "(accounts.execute_account)" in page(client, preview)
    assert "(accounts.execute_account)" in messages(send(client, preview))
    assert not RebalanceRun.objects.filter(mode="execute").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("expired", "has expired"),
        ("superseded", "is newer than this preview"),
        ("other plan hash", "differs from the stored plan"),
        ("blocked", "Trading is paused"),
        ("nothing to do", "no orders to submit"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(log_in, make_account, what, said):
    client = log_in("trader")
    if what == "blocked":
        TradingControl.objects.create(trading_paused=True)
    account = make_account()
    if what == "nothing to do":
        carry_out(account)
    preview = previewed(client, account)
    if what == "expired":
        RebalanceRun.objects.update(plan_expires_at=timezone.now() - timedelta(seconds=1))
    if what == "superseded":
        previewed(client, account)
    fields = {"plan_hash": "0" * 64} if what == "other plan hash" else {}
    executions = RebalanceRun.objects.filter(mode="execute").count()
    assert said in messages(send(client, preview, **fields))
    assert RebalanceRun.objects.filter(mode="execute").count() == executions


def test_a_live_run_wants_the_right_and_the_account_number_typed(log_in, make_account, settings):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING, settings.MARKET_CALENDAR = "live", True, "always_open"
    account = make_account(type="live", live_armed=True)
    preview = previewed(log_in("trader"), account)
    assert "(accounts.execute_live_account)" in messages(send(log_in("trader"), preview))
    client = log_in("live_trader")
    assert "rb-confirm-live" in page(client, preview)
    assert "type its account number" in messages(send(client, preview))
    assert "type its account number" in messages(send(client, preview, account_id="U2"))
    send(client, preview, account_id="U1")
    assert finish().state == "completed"


def test_a_live_run_asks_for_the_one_time_code_of_who_has_a_device(client, people, make_account, settings):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING, settings.MARKET_CALENDAR = "live", True, "always_open"
    account, person = make_account(type="live", live_armed=True), people("live_trader")
    device = new_device(person)
    client.force_login(person)
    preview = previewed(client, account)
    assert "logged in without a two-factor code" in page(client, preview)
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session.save()
    assert 'name="code"' in page(client, preview)
    code = code_of(device)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for given in ("", wrong):
        assert "code is missing, invalid or expired" in messages(send(client, preview, account_id="U1", code=given))
        Authenticator.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert not RebalanceRun.objects.filter(mode="execute").exists()
    send(client, preview, account_id="U1", code=code)
    assert finish().state == "completed"


@pytest.mark.parametrize("moved", ["quotes", "positions", "targets"])
def test_a_plan_whose_world_has_moved_stops_before_its_first_order(log_in, make_account, moved):
    client = log_in("trader")
    account = make_account(policy=policy(max_price_move_percent=Decimal("0.1")))
    preview = previewed(client, account)
    send(client, preview)
    if moved == "quotes":
        SimulatedMarket.objects.update(seed=98)
    elif moved == "positions":
        matching_engine.set_position("U1", "GLD", Decimal(1))
    else:
        account.strategy.targets.filter(symbol="SPY").update(weight=Decimal("0.55"))
    run = finish()
    assert (run.state, run.error_code) == ("refused", "preview_moved")
    assert "Nothing was sent" in run.error_message
    assert not SimulatedOrder.objects.exists()


def test_get_sends_nothing_and_a_form_needs_its_token(people, make_account):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(people("trader"))
    account = make_account()
    assert client.get(reverse("trading:preview", args=[account.account_id])).status_code == 405
    assert client.post(reverse("trading:preview", args=[account.account_id])).status_code == 403
    assert not RebalanceRun.objects.exists()


def test_pages_need_a_login(client, make_account):
    account = make_account()
    for url in ("/", f"/accounts/{account.account_id}/", "/runs/", "/events/"):
        assert client.get(url).status_code == 302


def test_a_queued_run_without_a_worker_says_so_after_a_while(log_in, make_account):
    client, account = log_in("trader"), make_account()
    client.post(reverse("trading:preview", args=[account.account_id]))
    run = RebalanceRun.objects.get()
    assert 'id="no-worker"' not in page(client, run)
    RebalanceRun.objects.update(queued_at=timezone.now() - timedelta(seconds=11))
    assert 'id="no-worker"' in page(client, run)


def test_the_moving_part_is_sent_only_when_it_has_moved(log_in, make_account):
    client, account = log_in("trader"), make_account()
    client.post(reverse("trading:preview", args=[account.account_id]))
    run = RebalanceRun.objects.get()
    url = reverse("trading:run_fragment", args=[run.run_id])
    version = re.search(r"\?v=([\w.]+)", client.get(url).content.decode()).group(1)
    assert client.get(url, {"v": version}).status_code == 204
    work_slot(run.connection_id)
    moved = client.get(url, {"v": version})
    assert moved.status_code == 200
    assert "hx-get" not in moved.content.decode()


def test_an_ended_session_sends_the_whole_page_to_the_login(log_in, make_account):
    client_in, account = log_in("trader"), make_account()
    client_in.post(reverse("trading:preview", args=[account.account_id]))
    url = reverse("trading:run_fragment", args=[RebalanceRun.objects.get().run_id])
    client_in.logout()
    here = "http://testserver/runs/x/"
    answer = client_in.get(url, headers={"HX-Request": "true", "HX-Current-URL": here})
    assert (answer.status_code, answer.content, answer["HX-Redirect"]) == (204, b"", here)
    assert client_in.get(url).status_code == 302


def test_cancelling_a_queued_run_takes_its_right_and_sends_nothing(log_in, make_account):
    client, account = log_in("trader"), make_account()
    preview = previewed(client, account)
    send(client, preview)
    run = RebalanceRun.objects.get(mode="execute")
    url = reverse("trading:stop", args=[run.run_id])
    assert 'id="cancel-run"' in page(client, run)
    assert "(accounts.execute_account)" in messages(log_in("operator").post(url, follow=True))
    assert 'id="cancel-run"' not in page(client, run)
    assert RebalanceRun.objects.get(pk=run.pk).state == "queued"
    answer = log_in("trader").post(url, follow=True)
    assert 'id="cancel-run"' not in answer.content.decode()
    done = finish()
    assert (done.pk, done.state, done.error_code, done.started_at) == (run.pk, "stopped", "run_stopped", None)
    assert "trader" in done.error_message and done.finished_at is not None
    assert AuditEntry.objects.filter(action="cancelled", person="trader").count() == 1
    assert not SimulatedOrder.objects.exists() and held("U1") == {}
    assert "ended" in messages(client.post(url, follow=True))


def test_stopping_a_started_run_leaves_its_end_to_the_worker(log_in, make_account):
    client, account = log_in("trader"), make_account()
    preview = previewed(client, account)
    send(client, preview)
    run = RebalanceRun.objects.get(mode="execute")
    claim_runs(claim_lease(run.connection_id, "worker"))
    assert 'id="cancel-run"' not in page(client, run)
    client.post(reverse("trading:stop", args=[run.run_id]))
    run.refresh_from_db()
    assert (run.state, run.stop_requested_at is not None) == ("running", True)


def test_the_csv_holds_the_trades(log_in, make_account):
    client = log_in("trader")
    preview = previewed(client, make_account())
    rows = client.get(reverse("trading:trades_csv", args=[preview.run_id])).content.decode().splitlines()
    assert rows[0].startswith("symbol,quantity,order_type,limit_price_usd")
    assert len(rows) == 1 + len(preview.result["trades"])


def test_the_json_is_what_the_command_prints(log_in, make_account):
    client = log_in("trader")
    preview = previewed(client, make_account())
    answer = client.get(reverse("trading:run_json", args=[preview.run_id]))
    assert answer["Content-Disposition"] == f'attachment; filename="U1-{preview.run_id}.json"'
    assert answer.json() == json.loads(rebalance_result(preview).model_dump_json())
    assert (answer.json()["mode"], len(answer.json()["trades"])) == ("preview", len(preview.result["trades"]))


def test_no_page_has_an_inline_script_or_style_and_the_policy_forbids_them(log_in, make_account):
    client, account = log_in("trader"), make_account()
    preview = previewed(client, account)
    for url in ("/", f"/accounts/{account.account_id}/", reverse("trading:run", args=[preview.run_id]), "/events/"):
        answer = client.get(url, headers={"accept-language": "de"})
        text = answer.content.decode()
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", text), url
        assert answer["Content-Security-Policy"].count("'self'") >= 6
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert all(re.fullmatch(r"-?\d+(\.\d+)?", width) for width in re.findall(r'<rect[^>]* width="([^"]*)"', text))


def test_health_is_judged_by_rows(client, transactional_db):
    from trading.schedule.sweeper import record_heartbeat

    assert client.get("/healthz").status_code == 503
    record_heartbeat("worker:test", "worker")
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["database"]) == (200, "ok")
