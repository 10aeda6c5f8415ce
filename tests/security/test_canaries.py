"""Canaries in every secret of a real installation, and a search through all that it has written."""

import re

import pytest

CANARIES = {
    "SECRET_KEY": "canary-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
    "ALLOCATIONS_API_KEY": "canary-allocations-key",
    "REALTIME_API_KEY": "canary.app:canary-ably-secret",
    "NOTIFICATION_URLS": "json://user:canary-channel-word@127.0.0.1:9/canary-channel-path",
    "METRICS_TOKEN": "canary-metrics-token",
}


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_is_written_holds_a_secret(new_installation, form):
    site = new_installation(**CANARIES, LOG_LEVEL="DEBUG", LOG_FORMAT=form, ALLOCATIONS_BASE_URL="http://127.0.0.1:9/")
    site.python(
        "from tests.support.makers import strategy, policy; from accounts.models import Account; "
        "from brokers.simulated.matching_engine import open_account; from decimal import Decimal; "
        "Account.objects.create(account_id='SIM-1', broker='simulated', trade_guard='none', policy=policy(), "
        "strategy=strategy('published')); open_account('SIM-1', cash_usd=Decimal(1000))"
    )
    site.start("qworker")
    site.manage("publish_event", "published", "--exec", "rebalance")
    run = site.finished_run("SIM-1")
    assert (run["state"], run["error"]["code"]) == ("failed", "allocations_unreachable")
    told = site.manage("doctor", expect=1)
    page = site.python(
        "from django.test import Client; c = Client(raise_request_exception=False); "
        "print(c.get('/api/accounts', headers={'authorization': 'Bearer rbt_canarycanarycanarycanary'}).content, "
        "c.get('/metrics').content)"
    )
    site.wait_for(lambda: "Delivery to NOTIFICATION_URLS 1 failed" in site.logs(), "A delivery that fails")
    written = f"{site.logs()}\n{told.stdout}\n{told.stderr}\n{page}"
    assert len(written) > 2000 and "DEBUG" in written
    assert re.findall(r".{0,40}canary[-._a-z]+.{0,20}", written) == []
