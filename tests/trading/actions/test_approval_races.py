"""Two answers to one plan at the same moment: the first counts, and neither request fails."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from tests.support.makers import carry_out, policy
from trading.access.api_tokens import create_token
from trading.actions import previews
from trading.journal import approvals
from trading.models import AuditEntry, EventSource, RebalanceRun, StrategyEvent
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)


def trader(name):
    user = User.objects.create(username=name, is_staff=True)
    rights = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


@pytest.fixture
def preview(make_account):
    return carry_out(make_account(), ExecCommand.PRINT_REBALANCE)


@pytest.fixture
def meet(monkeypatch):
    """Both requests have found the preview unexecuted when the first continues."""
    barrier, confirm = Barrier(2, timeout=20), previews.confirm_live

    def confirm_together(*arguments):
        barrier.wait()
        confirm(*arguments)

    monkeypatch.setattr(previews, "confirm_live", confirm_together)


def by_page(user, preview):
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    url = reverse("trading:execute", args=[preview.run_id])
    return lambda: client.post(url, {"plan_hash": preview.plan_hash})


def by_api(user, preview):
    token = create_token("t", user, ["execute"], days=1)[1]
    body = json.dumps({"plan_hash": preview.plan_hash})
    return lambda: Client(raise_request_exception=False).post(
        f"/api/runs/{preview.run_id}/execute",
        body,
        content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )


def at_once(*requests):
    def send(request):
        try:
            return request()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def test_page_and_api_of_one_user_return_the_same_run(preview, meet):
    user = trader("ann")
    page, api = at_once(by_page(user, preview), by_api(user, preview))
    run = RebalanceRun.objects.get(mode="execute")
    assert (page.status_code, page.url) == (302, f"/runs/{run.run_id}/")
    assert (api.status_code, api.json().get("run_id")) == (202, run.run_id)
    assert AuditEntry.objects.filter(action="approved").count() == 1
    assert StrategyEvent.objects.filter(message_id=f"execute-{preview.run_id}").count() == 1


def test_api_calls_of_two_users_execute_once_and_refuse_the_second(preview, meet):
    answers = at_once(by_api(trader("ann"), preview), by_api(trader("bob"), preview))
    run = RebalanceRun.objects.get(mode="execute")
    outcomes = sorted((answer.status_code, answer.json().get("code", run.run_id)) for answer in answers)
    assert outcomes == [(202, run.run_id), (409, "already_executed")]
    assert AuditEntry.objects.get(action="approved").person == run.requested_by.username


@pytest.fixture
def plan(make_account):
    """A plan that waits for approval."""
    return carry_out(make_account(policy=policy(max_turnover_percent=0)), source=EventSource.SCHEDULE)


def declined_by_page(user, plan):
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return lambda: client.post(reverse("trading:decline", args=[plan.run_id]), {"note": "No"})


@pytest.fixture
def meet_at_the_lock(monkeypatch):
    """Both requests have found the plan waiting and unanswered when the first takes the lock of the account."""
    barrier, lock = Barrier(2, timeout=20), approvals.lock_account
    met = set()

    def lock_together(account_pk):
        thread = threading.get_ident()
        if connection.vendor == "postgresql" and thread not in met:  # a transaction of SQLite excludes the other
            met.add(thread)
            barrier.wait()
        lock(account_pk)

    monkeypatch.setattr(approvals, "lock_account", lock_together)
    monkeypatch.setattr(previews, "lock_account", lock_together)


def test_approval_and_decline_at_once_have_one_winner(plan, meet_at_the_lock):
    answers = at_once(by_page(trader("ann"), plan), declined_by_page(trader("bob"), plan))
    assert [answer.status_code for answer in answers] == [302, 302]
    plan.refresh_from_db()
    executed = RebalanceRun.objects.filter(approved_preview=plan).count()
    assert (executed, plan.declined_at is None) in {(1, True), (0, False)}
    assert AuditEntry.objects.filter(action__in=("approved", "declined")).count() == 1
    assert plan.timeline.filter(code__in=("approved", "declined")).count() == 1


def test_two_tabs_and_two_approvers_of_a_waiting_plan_execute_it_once(plan, meet):
    answers = at_once(by_page(trader("ann"), plan), by_page(trader("bob"), plan))
    assert [answer.status_code for answer in answers] == [302, 302]
    assert RebalanceRun.objects.filter(approved_preview=plan).count() == 1
    assert AuditEntry.objects.filter(action="approved").count() == 1


def test_two_declines_at_once_are_recorded_once(plan, meet_at_the_lock):
    ann = trader("ann")
    answers = at_once(declined_by_page(ann, plan), declined_by_page(ann, plan))
    assert [answer.url for answer in answers] == [reverse("trading:approvals")] * 2
    assert AuditEntry.objects.filter(action="declined").count() == 1
