"""The kill switch in the header: two clicks pause, a banner says who, when and why, and Resume asks for a code."""

import re
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from tests.support.makers import queue, simulated_account
from tests.support.two_factor import code_of, log_in_without_code, new_device
from trading.access.roles import sync_roles
from trading.actions.kill_switch import A_COMMAND, Pause, current_pause, set_paused
from trading.models import AuditEntry, Notification, RebalanceRun, TradingControl
from trading.schedule.sweeper import record_heartbeat

pytestmark = pytest.mark.django_db
PAUSE, RESUME = "/pause/", "/resume/"


@pytest.fixture
def person():
    """Create a user in one of the groups."""
    sync_roles()

    def make(role):
        user = User.objects.create_user(role, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def operator(person):
    return log_in_without_code(person("operator"))


def banner(answer):
    found = re.search(r'(?s)id="notice-paused".*?</p>', answer.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found.group().split(">", 1)[1])).split()) if found else ""


def is_paused():
    return TradingControl.objects.filter(trading_paused=True).exists()


@pytest.mark.parametrize("page", ["/", "/runs/", "/admin/", "/admin/accounts/account/"])
def test_the_button_on_every_page_leads_to_one_form_that_pauses_and_returns(operator, page):
    assert 'id="pause" class="rb-pause" href="/pause/"' in operator.get(page).content.decode()
    form = operator.get(PAUSE, headers={"referer": f"http://testserver{page}"})
    assert form.context["next"] == page
    assert not is_paused(), "opening the form does nothing"
    answer = operator.post(PAUSE, {"next": page, "reason": "Odd quotes"})
    assert (answer.url, is_paused()) == (page, True)
    text = banner(operator.get(page))
    assert "operator" in text and "Odd quotes" in text
    assert 'id="resume"' in operator.get(page).content.decode()
    assert AuditEntry.objects.filter(action="kill switch on", person="operator", detail="Odd quotes").count() == 1
    assert Notification.objects.filter(title="Trading paused").count() == 1


def test_the_pause_cancels_working_orders_only_if_asked(operator):
    queue(simulated_account("U1", {"SPY": "1"}))
    RebalanceRun.objects.update(state="running")
    operator.post(PAUSE, {})
    assert RebalanceRun.objects.get().cancel_requested_at is None
    operator.post(PAUSE, {"cancel_orders": "on"})
    assert RebalanceRun.objects.get().cancel_requested_at is not None


def test_a_second_pause_keeps_who_paused_first_and_the_reason(operator, person):
    set_paused(None, paused=True, reason="Transfer", by="by command")
    first = current_pause()
    operator.post(PAUSE, {})
    assert current_pause() == first == Pause("Transfer", A_COMMAND, first.at)


def test_a_new_pause_has_no_reason_of_an_earlier_one(operator):
    TradingControl.objects.create(pk=1, reason="Old reason")
    operator.post(PAUSE, {})
    assert (current_pause().reason, current_pause().by) == ("", "operator")


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/nothing/", ""])
def test_the_form_returns_to_pages_of_the_site_only(operator, target):
    assert operator.post(PAUSE, {"next": target}).url == "/"


def test_a_viewer_sees_the_banner_and_no_button(person):
    viewer = log_in_without_code(person("viewer"))
    assert 'id="pause"' not in viewer.get("/").content.decode()
    assert [viewer.post(PAUSE).status_code, is_paused()] == [403, False]
    set_paused(None, paused=True, reason="", by="by command")
    page = viewer.get("/").content.decode()
    assert 'id="notice-paused"' in page and 'id="resume"' not in page
    assert [viewer.post(RESUME).status_code, is_paused()] == [403, True]


def test_resume_without_a_device_takes_one_confirmation(operator):
    set_paused(None, paused=True, reason="", by="by command")
    form = operator.get(RESUME, headers={"referer": "http://testserver/runs/"}).content.decode()
    assert 'name="otp_token"' not in form and is_paused()
    assert operator.post(RESUME, {"next": "/runs/"}).url == "/runs/"
    assert not is_paused()
    assert Notification.objects.filter(title="Trading resumed").count() == 1


def test_resume_needs_a_fresh_code_of_a_user_with_a_device(person):
    user = person("operator")
    device, client = new_device(user), log_in_without_code(user)
    set_paused(None, paused=True, reason="", by="by command")
    assert 'name="otp_token"' in client.get(RESUME).content.decode()
    wrong = f"{(int(code_of(device)) + 1) % 1_000_000:06d}"
    for code in ("", wrong):
        assert (client.post(RESUME, {"otp_token": code}).status_code, is_paused()) == (200, True)
    device.refresh_from_db()
    device.throttle_reset()
    assert client.post(RESUME, {"otp_token": code_of(device)}).status_code == 302
    assert not is_paused()


def test_resume_without_a_device_is_refused_where_codes_are_required(operator, settings):
    settings.ONE_TIME_CODES_REQUIRED_FOR = "execute"
    set_paused(None, paused=True, reason="", by="by command")
    assert 'href="/codes/"' in operator.get(RESUME).content.decode()
    assert (operator.post(RESUME).status_code, is_paused()) == (200, True)


def test_resume_needs_another_user_if_that_is_required(operator, person, settings):
    settings.RESUME_BY_ANOTHER_USER = True
    operator.post(PAUSE, {})
    assert (operator.post(RESUME).status_code, is_paused()) == (200, True)
    other = log_in_without_code(person("trader"))
    assert (other.post(RESUME).status_code, is_paused()) == (302, False)


# ---- other notices


def worker():
    """A worker that has just given a sign."""
    record_heartbeat("worker:test", "worker")


@pytest.mark.parametrize("page", ["/", "/accounts/U1/", "/runs/{run}/", "/schedule/", "/strategies/", "/admin/"])
def test_every_page_says_that_no_worker_is_running(client, page):
    client.force_login(User.objects.create_superuser("boss"))
    run = queue(simulated_account("U1", {"SPY": "1"}))
    address = page.format(run=run.run_id)
    answer = client.get(address)
    assert 'id="notice-no-worker"' in answer.content.decode()
    assert answer.context["can_trade_now"]() is False
    worker()
    answer = client.get(address)
    assert 'id="notice-no-worker"' not in answer.content.decode()
    assert answer.context["can_trade_now"]() is True
    set_paused(None, paused=True, reason="", by="by command")
    assert client.get(address).context["can_trade_now"]() is False


@pytest.mark.parametrize(
    ("mode", "allowed", "required", "shown"),
    [
        ("paper", False, "execute", None),
        ("live", False, "live", "notice-live-off"),
        ("live", True, "live", "notice-device-needed"),
        ("live", True, "nothing", None),
    ],
)
def test_pages_say_what_live_orders_need(client, settings, mode, allowed, required, shown):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING, settings.ONE_TIME_CODES_REQUIRED_FOR = mode, allowed, required
    client.force_login(User.objects.create_superuser("boss"))
    page = client.get(reverse("trading:strategies")).content.decode()
    assert {name for name in ("notice-live-off", "notice-device-needed") if name in page} == ({shown} - {None})
