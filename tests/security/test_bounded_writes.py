"""What a client without rights can make the site write: rows, log lines and payloads are bounded."""

import json
import logging
from datetime import timedelta

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from tests.support.makers import strategy
from tests.support.two_factor import log_in_without_code
from trading.access.api_tokens import create_token
from trading.inbox.payload import KEPT_OF_LARGE_PAYLOAD, MAX_PAYLOAD_BYTES
from trading.inbox.receive import receive_event
from trading.journal.retention import delete_expired
from trading.models import AuditEntry, EventSource, StrategyEvent
from trading.pages.csp import LINES_PER_HOUR

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()


def log_in(name, address, agent=""):
    fields = {"username": name, "password": "wrong", "otp_token": "", "next": "/codes/"}
    return Client().post("/admin/login/", fields, REMOTE_ADDR=address, headers={"user-agent": agent}).status_code


def test_locked_address_writes_one_row_for_all_further_attempts():
    answers = [log_in(f"name{number}", "203.0.113.1", f"agent {number}") for number in range(40)]
    assert answers.count(429) >= 35
    assert AuditEntry.objects.filter(action="login failed").count() == 5
    assert AuditEntry.objects.filter(action="login locked").count() == 1
    assert AccessAttempt.objects.count() == 5


def test_locked_name_writes_one_row_for_all_addresses():
    for number in range(40):
        log_in("ann", f"203.0.113.{number}")
    assert AuditEntry.objects.filter(action="login failed").count() == 5
    assert AuditEntry.objects.filter(action="login locked").count() == 1


def test_csp_reports_of_any_content_are_logged_a_few_times(client, caplog):
    with caplog.at_level(logging.WARNING, "rebalancer.security"):
        for number in range(LINES_PER_HOUR + 10):
            report = {"csp-report": {"document-uri": f"https://example.com/{number}"}}
            answer = client.post("/csp-report/", json.dumps(report), content_type="application/csp-report")
            assert answer.status_code == 204
    assert len([line for line in caplog.messages if "security policy" in line]) == LINES_PER_HOUR


@pytest.mark.parametrize("spare", [0, 1])
def test_payload_above_64_kib_is_rejected_and_not_stored(spare):
    strategy("growth")
    empty = json.dumps({"exec": "rebalance", "data": ""})
    payload = empty.replace('""', '"' + "x" * (MAX_PAYLOAD_BYTES - len(empty) + spare) + '"')
    event = receive_event(source=EventSource.ABLY, channel="growth", message_id="m", payload=payload)
    assert event.reason_code == ("payload_too_large" if spare else "no_accounts")
    assert len(StrategyEvent.objects.get().payload) == (KEPT_OF_LARGE_PAYLOAD if spare else MAX_PAYLOAD_BYTES)
    again = receive_event(source=EventSource.ABLY, channel="growth", message_id="m", payload=payload)
    assert (again.pk, again.duplicates) == (event.pk, 1)
    other = receive_event(source=EventSource.ABLY, channel="growth", message_id="m", payload=payload + " ")
    assert other.reason_code == "conflicting_duplicate"
    assert len(other.payload) <= MAX_PAYLOAD_BYTES


def test_api_rejects_a_payload_above_64_kib():
    token = create_token("t", User.objects.create_superuser("robot"), ["events", "execute"], days=1)[1]
    body = {"channel": "growth", "message_id": "m", "payload": {"exec": "rebalance", "data": "x" * MAX_PAYLOAD_BYTES}}
    headers = {"authorization": f"Bearer {token}"}
    answer = Client().post("/api/events", json.dumps(body), content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_too_large")


def test_tidy_deletes_audit_and_login_rows_after_their_periods(settings):
    settings.KEEP_AUDIT_DAYS = 100
    log_in_without_code(User.objects.create_superuser("ann"))
    log_in("ann", "203.0.113.1")
    assert (AccessLog.objects.count(), AccessAttempt.objects.count(), AuditEntry.objects.count()) == (1, 1, 2)
    for days, left in ((89, (1, 1)), (91, (0, 0))):
        old = timezone.now() - timedelta(days=days)
        AccessLog.objects.update(attempt_time=old)
        AccessAttempt.objects.update(attempt_time=old)
        delete_expired()
        assert (AccessLog.objects.count(), AccessAttempt.objects.count()) == left
    for days, left in ((99, 2), (101, 0)):
        AuditEntry.objects.update(at=timezone.now() - timedelta(days=days))
        assert delete_expired(dry_run=True).audit == 2 - left
        assert delete_expired().audit == 2 - left
        assert AuditEntry.objects.count() == left
