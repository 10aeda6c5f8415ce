"""Every page makes as many queries for many rows as for few: a thousand accounts must not mean a thousand queries."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import RebalancePolicy, ReplacementRule, ReplacementSet
from tests.support.makers import carry_out, strategy
from tests.support.pages import admin_lists, product_pages
from trading.models import (
    AccountValue,
    ApiToken,
    AuditEntry,
    ChannelPosition,
    ContractChoice,
    Delivery,
    ExecutedSession,
    Notification,
    ProcessHeartbeat,
    RunState,
    ScheduledJob,
    ScheduleEntry,
    SeenExecution,
    TimelineEntry,
    UnrecordedOrder,
    Webhook,
    new_run_id,
)
from trading.models.run_documents import ExecCommand
from trading.queue.wake import wake_slot

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,
]
TARGETS = {"SPY": "0.6", "IEF": "0.4"}


def copied(row, **changes):
    copy = type(row).objects.get(pk=row.pk)
    copy.pk, copy._state.adding = None, True
    for name, value in changes.items():
        setattr(copy, name, value)
    copy.save()
    return copy


@pytest.fixture
def shop(client, make_account):
    """An account with a preview and an execution; the strategy and the set are shared by all that follow."""
    person = User.objects.create_superuser("all", password="pw")
    client.force_login(person)
    replacements = ReplacementSet.objects.create(name="shared")
    ReplacementRule.objects.create(replacement_set=replacements, source="SPY", target="VOO")
    account = make_account(
        "FIRST", positions={"VTI": "30"}, strategy=strategy("shared", TARGETS), replacement_set=replacements
    )
    preview, run = carry_out(account, ExecCommand.PRINT_REBALANCE), carry_out(account)
    assert (preview.state, run.state) == ("completed", "completed"), run.error_message
    return person, account, preview, run


def add_rows(shop, make_account, number):
    """One more of everything: of all accounts, of this account, and of this run."""
    person, first, preview, run = shop
    now = timezone.now()
    account = make_account(f"N{number}", strategy=first.strategy, replacement_set=first.replacement_set)
    strategy(f"s{number}", TARGETS)
    others = ReplacementSet.objects.create(name=f"set{number}")
    ReplacementRule.objects.create(replacement_set=others, source="SPY", target=f"X{number}")
    RebalancePolicy.objects.create(name=f"policy{number}")
    event = copied(run.event, message_id=f"m{number}", channel="shared")
    for owner in (first, account):
        for template in (preview, run):
            for state in (RunState.COMPLETED, RunState.FAILED, RunState.NEEDS_ATTENTION):
                copied(template, run_id=new_run_id(), account=owner, event=event, state=state, approved_preview=None)
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    soon = now + timedelta(hours=1)
    copied(preview, run_id=new_run_id(), event=event, approval_until=soon, declined_at=now)
    copied(preview, run_id=new_run_id(), account=account, event=event, approval_until=soon)
    late = copied(run.event, message_id=f"late{number}", state="late")
    copied(preview, run_id=new_run_id(), event=late)
    order = copied(run.orders.first(), sequence=100 + number, client_order_id=f"o{number}")
    copied(run.orders.first().fills.first(), order=order, execution_id=f"e{number}")
    TimelineEntry.objects.create(run=run, code="note", message="One more.")
    AccountValue.objects.create(account=account, total_value_usd=1, cash_usd=1, at=now - timedelta(days=number + 1))
    for state in ("waiting", "completed", "failed"):
        ScheduleEntry.objects.create(key=f"{state}{number}", account=account, session_date=now.date(), due_at=now,
                                     origin="person", state=state, run=run, requested_by=person)  # fmt: skip
    ScheduledJob.objects.create(key=f"job{number}", kind="cadence", session_date=now.date(), due_at=now)
    ExecutedSession.objects.create(
        account=account, session_date=now.date(), run=copied(run, run_id=new_run_id()), first_order_at=now
    )
    SeenExecution.objects.create(account=account, execution_id=f"x{number}", symbol="SPY", quantity=1, price_usd=Decimal(1),
                                 executed_at=now, session_date=now.date())  # fmt: skip
    UnrecordedOrder.objects.create(account=account, client_order_id=f"rb-{number}", symbol="SPY", quantity=1)
    message = Notification.objects.create(kind="failure", title="Failed", body="Failed.", run=run)
    AuditEntry.objects.create(person="all", action="a", subject="b")
    ProcessHeartbeat.objects.create(name=f"worker:{number}:1", kind="worker", at=now)
    ChannelPosition.objects.create(channel=f"c{number}", known_from=now, caught_up_to=now)
    User.objects.create_user(f"u{number}").groups.add(Group.objects.create(name=f"g{number}"))
    ApiToken.objects.create(name="t", owner=person, digest=f"d{number}", expires_at=now)
    ContractChoice.objects.create(broker="ibkr", symbol=f"S{number}", contract_id="1")
    webhook = Webhook.objects.create(name=f"w{number}", url="https://a.test")
    for fields in ({"webhook": webhook, "body": "{}"}, {"channel": f"NOTIFICATION_URLS {number}"}):
        Delivery.objects.create(notification=message, **fields)
    wake_slot(account.connection_id)


STRAY_SPACE = re.compile(r"\$ \d|≈\S|\( | \)| [.,;:](?= |$)|\d (?=/\d)")


def text_of(html):
    """The text as a browser shows it: tags are dropped, blocks are lines, white space collapses."""
    html = re.sub(r"(?s)<(script|style|svg|title|head)\b.*?</\1>", "", html)
    html = re.sub(r"</?(a|span|small|strong|code|time|b|i)\b[^>]*>", "", html)
    return [" ".join(unescape(line).split()) for line in re.sub(r"<[^>]*>", "\0", html).split("\0") if line.strip()]


def test_page_text_has_no_stray_white_space(shop, make_account, client):
    """Formatting of the templates must not change the text of a page."""
    _, account, preview, run = shop
    add_rows(shop, make_account, 0)
    pages = product_pages(
        account=account.account_id, strategy="shared", replacement_set="shared", preview=preview.run_id, run=run.run_id
    )
    lines = {
        name: text_of(client.get(address).content.decode()) for name, address in pages.items() if "as " not in name
    }
    assert {
        name: found for name in lines if (found := [line for line in lines[name] if STRAY_SPACE.search(line)])
    } == {}
    assert sum(map(len, lines.values())) > 500


def test_a_page_takes_as_many_queries_for_many_rows_as_for_few(shop, make_account, client):
    _, account, preview, run = shop
    pages = (
        product_pages(
            account=account.account_id,
            strategy="shared",
            replacement_set="shared",
            preview=preview.run_id,
            run=run.run_id,
        )
        | admin_lists()
    )

    def queries():
        taken = {}
        for name, address in pages.items():
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200, address
            taken[name] = len(queries)
        return taken

    for number in range(2):
        add_rows(shop, make_account, number)
    few = queries()
    for number in range(2, 7):
        add_rows(shop, make_account, number)
    many = queries()
    assert {name: (few[name], taken) for name, taken in many.items() if taken > few[name]} == {}
    assert len(few) > 40


@pytest.mark.parametrize(
    ("words", "found"),
    [("{run}", 1), ("fir", 2), ("FIRST {run}", 1), ("shared", 2), ("turnover_limit", 0), ("nothing", 0)],
)
def test_runs_are_found_by_id_account_strategy_or_code(shop, client, words, found):
    _, _, _, run = shop
    page = client.get("/admin/trading/rebalancerun/", {"q": words.format(run=run.run_id)})
    assert page.context["cl"].result_count == found
