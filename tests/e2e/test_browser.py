"""The main job as a person does it: a real browser, a real site, a real worker."""

import os
import re
import shutil
import socket
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

pytestmark = pytest.mark.one_database

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = os.environ.get("SCREENSHOTS")
SECONDS = 1000

if CHROMIUM is None and os.environ.get("E2E") != "require":
    pytest.skip("NO BROWSER: install chromium to run the browser tests", allow_module_level=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def site(new_installation):
    """`manage.py demo`, from nothing to a page that answers."""
    url = f"http://127.0.0.1:{free_port()}"
    site = new_installation(SITE_URL=url)
    site.url = url
    site.demo = site.start("demo", "--port", site.url.rsplit(":", 1)[1])

    def answers():
        try:
            return httpx.get(f"{site.url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    site.wait_for(answers, "The first page", seconds=60)
    return site


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, site):
    """A page on which nothing may go wrong: no console error, no answer of 400 or more, no request elsewhere."""
    checked, contexts = [], []

    def open_(user=None, *, expects_errors=False, **options):
        wrong = [] if expects_errors else checked
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30 * SECONDS)
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        )
        page.on(
            "request",
            lambda request: None if request.url.startswith((site.url, "data:")) else wrong.append(request.url),
        )
        page.goto(site.url)
        if user:
            page.fill("#id_username", user)
            page.fill("#id_password", "demo")
            page.click("[type=submit]")
            page.wait_for_url(f"{site.url}/")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert checked == []


def picture(page, name, width=1280, height=800):
    """What a document shows, small enough to be loaded with it; a phone's stays as it is."""
    if PICTURES:
        if page.viewport_size["width"] > width // 2:
            page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


PAGES = (
    "/",
    "/accounts/SIM-1001/",
    "/accounts/SIM-1003/",
    "/runs/",
    "/events/",
    "/strategies/",
    "/strategies/all-weather/",
    "/replacement-sets/",
    "/replacement-sets/ira/",
    "/approvals/",
    "/schedule/",
    "/notifications/",
    "/admin/",
    "/codes/",
    "/pause/",
    "/admin/accounts/account/",
    "/admin/accounts/account/1/history/",
)

FORMS = (
    "/accounts/SIM-1001/schedule/confirm/",
    "/admin/accounts/account/add/",
    "/admin/accounts/account/1/change/",
    "/admin/accounts/strategy/",
    "/admin/accounts/strategy/1/change/",
    "/admin/accounts/replacementset/1/change/",
    "/admin/accounts/rebalancepolicy/",
    "/admin/accounts/rebalancepolicy/1/change/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/1/change/",
    "/admin/trading/order/",
    "/admin/trading/rebalancerun/",
    "/admin/trading/rebalancerun/1/change/",
    "/admin/trading/tradingcontrol/add/",
    "/admin/trading/apitoken/add/",
)
"""Forms and lists of the admin that users need, and the confirmation of a scheduled run."""


def run_pages(page, site):
    """The newest runs, previews and executions."""
    page.goto(f"{site.url}/runs/")
    return [link.get_attribute("href") for link in page.locator("td a[href^='/runs/']").all()[:3]]


def test_fresh_demo_never_claims_that_an_account_is_fine_before_it_was_checked(site, open_page):
    """Unchecked accounts are counted as such; once checked, two of the three are outside their band."""
    page = open_page("demo")
    for _ in range(60):
        cards = page.locator(".rb-cards > .rb-card")
        inside, outside = (cards.locator(f".rb-chip.{style}").count() for style in ("rb-good", "rb-warn"))
        unchecked = cards.get_by_text("Not checked yet").count()
        assert inside + outside + unchecked == cards.count() == 3
        counts = page.inner_text(".rb-tile:has-text('Outside drift band')")
        assert ("not checked yet" in counts) == (unchecked > 0)
        assert not re.search("no trades needed|nothing needs doing", page.inner_text("main"))
        if not unchecked:
            break
        page.wait_for_timeout(1 * SECONDS)
        page.reload()
    assert (inside, outside) == (1, 2)
    assert "2 outside · 1 inside" in counts


def test_account_is_read_again_on_request_without_a_reload_by_hand(site, open_page):
    page = open_page("viewer")
    page.goto(f"{site.url}/accounts/SIM-1003/")
    page.click("text=Refresh")
    page.wait_for_selector("#refresh-in-progress")
    page.wait_for_selector("#refresh-in-progress", state="detached")
    assert page.locator("#refresh-failed, #refresh-late").count() == 0
    assert "⚠ 6 of 7 outside ±1 pp" in page.inner_text("main")


@pytest.mark.parametrize("width", [390, 900, 1440])
def test_rows_of_cards_on_the_dashboard_have_no_hole(site, open_page, width):
    page = open_page("demo", viewport={"width": width, "height": 900})
    right_edges = """(count) => {
        const cards = document.querySelector(".rb-cards"), card = cards.children[0]
        while (cards.children.length > count) cards.lastElementChild.remove()
        while (cards.children.length < count) cards.append(card.cloneNode(true))
        const rows = {}
        for (const one of cards.children) {
            const box = one.getBoundingClientRect()
            rows[box.top] = Math.max(rows[box.top] || 0, Math.round(box.right))
        }
        return [Object.values(rows), Math.round(cards.getBoundingClientRect().right)]
    }"""
    for count in (3, 1, 2, 4, 5, 6, 7, 8, 11, 12):
        edges, whole = page.evaluate(right_edges, count)
        assert all(abs(edge - whole) <= 1 for edge in edges), count


def test_edit_preview_send_and_watch(site, open_page):
    page = open_page("demo")
    page.goto(f"{site.url}/admin/")
    page.click("#content-main a[href='/admin/accounts/account/']")
    page.click("text=SIM-1001")
    page.fill("#id_cash_reserve_percent", "3")
    page.click("input[name=_save]")
    page.wait_for_selector(".messagelist .success")
    page.goto(site.url)
    page.click("button[aria-label='Preview Family portfolio']")
    page.wait_for_selector(".rb-confirm")
    assert page.get_attribute("#preview-state", "data-state") == "ready"
    picture(page, "preview", 1440, 750)
    count = int(re.search(r"Submit (\d+)\s+orders", page.inner_text(".rb-confirm")).group(1))
    page.click("#submit-orders")
    page.wait_for_selector("#run[data-outcome=done]")
    assert f"{count} of {count} orders filled" in page.inner_text("#run")
    picture(page, "run")
    assert "Slippage vs. decision quote" in page.inner_text("#run")
    with page.expect_download() as download:
        page.click("text=CSV")
    assert len(Path(download.value.path()).read_text().splitlines()) == 1 + count
    for name in ("Retirement (IRA)", "Taxable"):
        page.goto(site.url)
        page.click(f"button[aria-label='Preview {name}']")
        page.wait_for_selector("#preview-state")
    page.goto(site.url)
    assert page.locator("main .rb-chip.rb-good").count() >= 1
    picture(page, "dashboard", 1200, 740)
    assert page.is_visible("nav.rb-nav >> text=Strategies")


def test_a_viewer_may_look_and_not_send(site, open_page):
    page = open_page("viewer")
    page.click("button[aria-label='Preview Taxable']")
    page.wait_for_selector(".rb-confirm")
    assert "accounts.execute_account" in page.inner_text(".rb-confirm")
    assert page.locator("#submit-orders").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(site, open_page, scheme):
    page = open_page("trader", viewport={"width": 390, "height": 844}, color_scheme=scheme, locale="de-DE")
    page.click("button[aria-label='Preview Taxable']")
    page.wait_for_selector(".rb-confirm")
    picture(page, f"phone_{scheme}")
    for path in (*PAGES, *run_pages(page, site)):
        if not path.startswith("/admin/"):
            page.goto(site.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


@pytest.mark.parametrize("display", ["light", "dark", "phone"])
def test_pages_have_no_accessibility_findings(site, open_page, display):
    from axe_playwright_python.sync_playwright import Axe

    options = {"viewport": {"width": 390, "height": 844}} if display == "phone" else {"color_scheme": display}
    page = open_page("demo", bypass_csp=True, **options)  # axe comes as an inline script
    found = {}
    for path in (*PAGES, *FORMS, "/queue/", *run_pages(page, site)):
        page.goto(site.url + path)
        if violations := Axe().run(page).response["violations"]:
            found[path] = [(one["id"], [node["target"] for node in one["nodes"]]) for one in violations]
    assert found == {}


def test_times_are_shown_in_the_readers_time_zone_and_market_times_in_new_york(site, open_page):
    page = open_page("demo", timezone_id="Asia/Tokyo", locale="de-DE")
    page.goto(f"{site.url}/sessions/")
    element = page.locator("td time").first
    instant = datetime.fromisoformat(element.get_attribute("datetime"))
    tokyo = instant.astimezone(ZoneInfo("Asia/Tokyo"))
    assert element.text_content() == f"{tokyo.day} {tokyo:%b %Y, %H:%M}"
    assert element.get_attribute("title").endswith("New York time")
    page.goto(f"{site.url}/accounts/SIM-1001/schedule/confirm/")
    assert page.inner_text(".rb-head time").endswith("09:30 New York time")
    plain = open_page("demo", java_script_enabled=False, timezone_id="Asia/Tokyo")
    plain.goto(f"{site.url}/sessions/")
    assert plain.locator("td time").first.text_content().endswith("New York time")


def test_the_menu_opens_on_a_phone_and_closes_with_escape(site, open_page):
    page = open_page("trader", viewport={"width": 390, "height": 844})
    assert not page.is_visible("#rb-nav")
    page.click("button[aria-label=Menu]")
    assert page.is_visible("#rb-nav >> text=Strategies")
    page.keyboard.press("Escape")
    assert not page.is_visible("#rb-nav")
    page.click("button[aria-label=Menu]")
    page.click("#rb-nav >> text=Strategies")
    assert page.inner_text("h1") == "Strategies"


def test_the_keyboard_reaches_the_content_first_and_static_files_have_hashed_names(site, open_page):
    page = open_page("trader")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-to-content-link"
    sheets = page.eval_on_selector_all("link[rel=stylesheet]", "links => links.map(link => link.href)")
    assert all(re.search(r"\.[0-9a-f]{12}\.css$", sheet) for sheet in sheets)


def test_without_scripts_one_can_preview_send_and_follow(site, open_page):
    page = open_page("trader", java_script_enabled=False)
    page.click("button[aria-label='Preview Taxable']")
    for _ in range(60):
        if page.locator(".rb-confirm button").count():
            break
        page.reload()
    page.click(".rb-confirm button")
    for _ in range(100):
        if page.locator("#run[data-outcome=done]").count():
            break
        page.reload()
    assert "orders filled" in page.inner_text("#run")


WAITS = """
from decimal import Decimal
from accounts.models import Account, RebalancePolicy
from brokers.simulated.matching_engine import open_account
taxable = Account.objects.get(account_id="SIM-1003")
policy = RebalancePolicy.objects.create(name="careful", commission_kind="per_share", max_turnover_percent=0)
Account.objects.create(account_id="SIM-2001", name="Held", broker="simulated", strategy=taxable.strategy, policy=policy,
                       trade_guard="none")
open_account("SIM-2001", cash_usd=Decimal(50000))
"""
MESSAGE = """
from trading.models import Notification
print(getattr(Notification.objects.filter(title__startswith="Rebalance waits for approval").first(), "body", ""))
"""


def test_a_phone_leads_from_the_message_through_the_login_to_the_plan_and_sends_it(site, open_page):
    site.python(WAITS)
    site.manage("publish_event", "global-growth", "--exec", "rebalance", "--account-id", "SIM-2001")
    message = site.wait_for(lambda: site.python(MESSAGE), "The message about a plan that waits")
    link = re.search(rf"{re.escape(site.url)}/runs/\w+/", message).group()
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(link)
    page.fill("#id_username", "trader")
    page.fill("#id_password", "demo")
    page.tap("[type=submit]")
    page.wait_for_url(link)
    assert "Needs approval:" in page.inner_text("#run")
    picture(page, "phone_approval")
    page.tap("#submit-orders")
    page.wait_for_selector("#run[data-outcome=done]")
    assert "orders filled" in page.inner_text("#run")


FRESH = """
from decimal import Decimal
from accounts.models import Account
from brokers.simulated.matching_engine import open_account
taxable = Account.objects.get(account_id="SIM-1003")
Account.objects.create(account_id="SIM-3001", name="Fresh", broker="simulated", strategy=taxable.strategy)
open_account("SIM-3001", cash_usd=Decimal(50000))
"""


@pytest.fixture(scope="module")
def fresh(site):
    """An account that no other test trades."""
    site.python(FRESH)


def test_send_over_an_ended_session_leads_back_to_the_plan_and_says_that_nothing_was_sent(site, fresh, open_page):
    page = open_page("trader")
    page.click("button[aria-label='Preview Fresh']")
    page.wait_for_selector("#submit-orders:enabled")
    plan = page.url
    page.context.clear_cookies(name="sessionid")
    page.click("#submit-orders")
    page.wait_for_selector("#login-form")
    assert "Nothing was sent." in page.inner_text(".rb-note")
    page.fill("#id_username", "trader")
    page.fill("#id_password", "demo")
    page.click("[type=submit]")
    page.wait_for_url(plan)
    assert "Nothing was sent." in page.inner_text(".messagelist")
    assert page.is_enabled("#submit-orders")


def test_a_page_says_that_the_site_is_away_until_it_answers_and_announces_the_end(site, fresh, open_page):
    page = open_page("trader", expects_errors=True, timezone_id="Asia/Tokyo")
    page.route("**/now/*", lambda route: route.abort())
    page.click("button[aria-label='Preview Fresh']")
    page.wait_for_selector("#connection-lost:visible")
    assert re.search(r"Not reached since \d\d:\d\d GMT\+9", page.inner_text("#connection-lost"))
    assert page.inner_text("#announcements") == ""
    page.unroute("**/now/*")
    page.wait_for_selector("#submit-orders")
    assert not page.is_visible("#connection-lost")
    assert page.inner_text("#announcements") == "The preview is ready."


def test_a_page_whose_part_is_refused_is_loaded_again_once(site, fresh, open_page):
    page, asked = open_page("trader", expects_errors=True), []
    page.route("**/now/*", lambda route: (asked.append(route.request.url), route.fulfill(status=403)))
    page.click("button[aria-label='Preview Fresh']")
    page.wait_for_url("**/runs/*/")
    page.wait_for_timeout(3000)
    assert 1 <= len(asked) <= 2


EXPIRED = """
from django.utils import timezone
from trading.models import RebalanceRun
print(RebalanceRun.objects.filter(run_id="{run}").update(plan_expires_at=timezone.now()))
"""


def test_a_preview_counts_down_and_cannot_be_sent_when_it_has_expired(site, fresh, open_page):
    page = open_page("trader")
    page.clock.install()
    page.click("button[aria-label='Preview Fresh']")
    page.wait_for_selector("#submit-orders:enabled")
    assert re.match(r"Valid for [1-5] min \d+ s", page.inner_text("#validity"))
    run_id = page.url.rstrip("/").rpartition("/")[2]
    assert site.python(EXPIRED.replace("{run}", run_id)) == "1"
    page.clock.fast_forward("05:01")
    page.wait_for_selector("#preview-state[data-state='expired']")  # the server decides
    assert page.locator("#submit-orders").count() == 0
    assert page.inner_text("#announcements") in page.inner_text("#preview-state")


def test_two_clicks_pause_all_trading_and_every_page_says_so(site, open_page):
    page = open_page("trader", viewport={"width": 390, "height": 844})
    page.goto(f"{site.url}/runs/")
    page.click("#pause")
    page.click("#pause-trading button")
    page.wait_for_url(f"{site.url}/runs/")
    for path in ("/", "/accounts/SIM-1003/", "/admin/"):
        page.goto(site.url + path)
        assert "trader" in page.inner_text("#notice-paused")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.emulate_media(media="print")
    assert not page.is_visible("#header") and not page.is_visible("#resume")
    page.emulate_media(media="screen", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.body).transitionProperty") == "none"
    page.click("#resume")
    page.click("#resume-trading button")
    page.wait_for_url(f"{site.url}/admin/")
    assert page.locator("#notice-paused").count() == 0 and page.is_visible("#pause")


THREE_HOURS_EARLIER = """
from datetime import timedelta
from django.db.models import F
from trading.models import RebalanceRun
past = {name: F(name) - timedelta(hours=3) for name in ("queued_at", "finished_at", "plan_expires_at")}
print(RebalanceRun.objects.filter(run_id="{run}").update(**past))
"""


def test_a_phone_approves_from_the_inbox_a_plan_of_three_hours_ago_and_declines_another(site, open_page):
    from axe_playwright_python.sync_playwright import Axe

    for number in (2, 3):
        site.python(
            WAITS.replace("SIM-2001", f"SIM-200{number}")
            .replace('"Held"', f'"Held {number}"')
            .replace('objects.create(name="careful",', f'objects.create(name="careful {number}",')
        )
        site.manage("publish_event", "global-growth", "--exec", "rebalance", "--account-id", f"SIM-200{number}")
        run = site.finished_run(f"SIM-200{number}")
        assert site.python(THREE_HOURS_EARLIER.replace("{run}", run["run_id"])) == "1"
    page = open_page("trader", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, bypass_csp=True)
    assert "2" in page.inner_text("#waiting-approvals")
    page.tap("#waiting-approvals a")
    page.wait_for_url(f"{site.url}/approvals/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    heights = [button.bounding_box()["height"] for button in page.locator(".rb-answers .rb-button:visible").all()]
    assert len(heights) == 6 and min(heights) >= 44
    page.tap("button[aria-label$='of Held 2']:has-text('Approve')")
    page.wait_for_selector("#run[data-outcome='done']")
    assert re.search(r"(\d+) of \1 orders filled", page.inner_text("#run"))
    page.goto(f"{site.url}/approvals/")
    page.tap("text=Decline…")
    page.fill("[name=note]", "Not this week")
    page.tap("button[aria-label='Decline the plan of Held 3']")
    page.wait_for_selector(".messagelist .success")
    assert page.locator(".rb-approval").count() == 0
    assert "Not this week" in page.inner_text("main")


def test_the_demo_ends_whole_when_it_is_interrupted(site):
    import signal
    import subprocess

    site.demo.send_signal(signal.SIGINT)
    assert site.demo.wait(30) == 0
    left = subprocess.run(["pgrep", "-g", str(site.demo.pid)], capture_output=True, text=True)
    assert left.stdout == ""
