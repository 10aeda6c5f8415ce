"""The migration to one delivery for each channel."""

import json
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from pydantic import SecretStr

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

BEFORE, AFTER = "0011_plan_hash", "0012_deliveries"
NEWEST = "2026-11-24T15:00:00+00:00"


def migrate(name):
    executor = MigrationExecutor(connection)
    targets = [("trading", name)] if name else executor.loader.graph.leaf_nodes()
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


@pytest.fixture
def old_tables():
    yield migrate(BEFORE)
    migrate(None)


def add_rows(apps):
    notifications, webhooks, deliveries = (
        apps.get_model("trading", name).objects for name in ("Notification", "Webhook", "WebhookDelivery")
    )
    for title, state, attempts in (("waits", "pending", 3), ("went", "sent", 1), ("gave up", "abandoned", 12)):
        notifications.create(kind="failure", title=title, body="b", state=state, attempts=attempts, last_error="e")
    notifications.filter(title="waits").update(created_at=datetime(2026, 11, 24, 15, tzinfo=UTC))
    hook = webhooks.create(name="mine", url="https://hooks.example.com/x")
    content = {"created_at": NEWEST, "kind": "failure", "title": "waits", "body": "b", "run": None}
    deliveries.create(webhook=hook, body=json.dumps(content), attempts=2)
    deliveries.create(webhook=hook, body=json.dumps(content | {"title": "deleted", "body": "d"}), state="sent")


def test_migration_keeps_pending_deliveries_for_each_channel_and_the_history(old_tables, settings):
    settings.NOTIFICATION_URLS = (SecretStr("json://127.0.0.1"),)
    settings.USER_NOTIFICATIONS_ENABLED, settings.USER_NOTIFICATIONS_CHANNEL = True, "topic"
    add_rows(old_tables)
    deliveries = migrate(AFTER).get_model("trading", "Delivery").objects
    rows = deliveries.values_list("notification__title", "channel", "state", "attempts")
    assert set(rows) == {
        ("waits", "NOTIFICATION_URLS 1", "pending", 3),
        ("waits", "USER_NOTIFICATIONS_CHANNEL", "pending", 3),
        ("waits", "webhook mine", "pending", 2),
        ("went", "all channels", "sent", 1),
        ("gave up", "all channels", "abandoned", 12),
        ("deleted", "webhook mine", "sent", 0),
    }
    assert deliveries.filter(notification__title="waits", created_at=NEWEST).count() == 2
    before = migrate(BEFORE).get_model("trading", "Notification").objects
    assert dict(before.values_list("title", "state")) == {
        "waits": "pending", "went": "sent", "gave up": "abandoned", "deleted": "abandoned"
    }  # fmt: skip


def test_migration_without_a_channel_leaves_nothing_pending(old_tables):
    add_rows(old_tables)
    deliveries = migrate(AFTER).get_model("trading", "Delivery").objects
    assert list(deliveries.filter(state="pending").values_list("channel", flat=True)) == ["webhook mine"]
    assert deliveries.get(notification__title="waits", webhook=None).state == "abandoned"
