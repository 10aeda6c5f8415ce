"""The listener as a real process: killed, stopped, and with keys that must not be logged."""

import signal
import sqlite3
from contextlib import closing

import pytest

from tests.support.ably_server import AblyServer
from tests.trading.listener.conftest import REBALANCE

pytestmark = [pytest.mark.timeout(300), pytest.mark.one_database]

SETUP = """
from accounts.models import Account, Strategy
from accounts.simulated_accounts import ensure_simulated_account
strategy = Strategy.objects.create(name="blend", source="static")
ensure_simulated_account(Account.objects.create(account_id="U1", broker="simulated", strategy=strategy, trade_guard="none"))
"""
STOPPED_FOR_AN_HOUR = """
from datetime import timedelta
from django.utils import timezone
from trading.models import ChannelPosition
ChannelPosition.objects.update(
    known_from=timezone.now() - timedelta(days=1), caught_up_to=timezone.now() - timedelta(hours=1))
"""


def rows(site, query):
    """Return the first column of a query on the installation's database. This module runs with SQLite only."""
    with closing(sqlite3.connect(site.directory / "site.sqlite3", timeout=20)) as database:
        return [row[0] for row in database.execute(query)]


def ids_of(site):
    return sorted(rows(site, "SELECT message_id FROM trading_strategyevent"))


def listen(site, ably):
    attached = ably.seen("attached")
    process = site.start("listen")
    ably.wait_for("attached", attached + 1, seconds=60)
    return process


def test_killed_listener_receives_what_history_has_and_reports_the_gap(new_installation):
    with AblyServer() as ably:
        site = new_installation(
            REALTIME_API_KEY=ably.key, ABLY_ENDPOINT="127.0.0.1", ABLY_PORT=str(ably.port), ABLY_TLS="false"
        )
        site.python(SETUP)
        process = listen(site, ably)
        ids = [ably.publish("blend", REBALANCE)]
        site.wait_for(lambda: ids_of(site) == ids, "The first event")

        site.kill(process, signal.SIGKILL)
        ids += [ably.publish("blend", REBALANCE) for _ in range(5)]
        process = listen(site, ably)
        site.wait_for(lambda: ids_of(site) == sorted(ids), "Events published while it was dead")

        site.kill(process, signal.SIGKILL)
        site.python(STOPPED_FOR_AN_HOUR)
        ably.call(ably.store.channel("blend").frames.clear)
        ably.set_retention(600)
        lost = ably.publish("blend", REBALANCE, age_seconds=1800)
        ids.append(ably.publish("blend", REBALANCE, age_seconds=300))
        process = listen(site, ably)
        site.wait_for(lambda: ids_of(site) == sorted(ids), "Events that history still has")
        assert lost not in ids_of(site)
        titles = site.wait_for(lambda: rows(site, "SELECT title FROM trading_notification"), "The notification")
        assert any(title.startswith("Messages of blend after") and title.endswith("may be lost") for title in titles)
        ids.append(ably.publish("blend", REBALANCE))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process = listen(site, ably)
        site.wait_for(lambda: ids_of(site) == sorted(ids), "Events published before it stopped")
        assert sorted(event["message_id"] for event in site.events()) == sorted(ids)


def test_log_at_debug_level_contains_no_key(new_installation):
    with AblyServer() as ably:
        site = new_installation(
            REALTIME_API_KEY="app.canary-name:canary-secret-part",
            ABLY_ENDPOINT="127.0.0.1",
            ABLY_PORT=str(ably.port),
            ABLY_TLS="false",
            LOG_LEVEL="DEBUG",
        )
        site.python(SETUP)
        site.start("listen")
        site.wait_for(lambda: "Ably refuses the key" in site.logs(), "The alert")
        attached = ably.seen("attached")
        ably.allow({"*": ("subscribe", "history")}, key="app.canary-name:canary-secret-part")
        site.close()
        site.start("listen")
        ably.wait_for("attached", attached + 1, seconds=60)
        message_id = ably.publish("blend", REBALANCE)
        site.wait_for(lambda: ids_of(site) == [message_id], "An event")
        log = site.logs()
        assert "Listening to channel blend" in log
        assert "canary" not in log and "token-" not in log


def test_listen_without_a_key_names_the_setting(new_installation):
    site = new_installation()
    assert "REALTIME_API_KEY is not set" in site.manage("listen", expect=2).stderr
