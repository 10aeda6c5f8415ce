"""Store one delivery for each channel of a notification; webhooks are channels."""

import json
from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

rename_permission = import_module("trading.migrations.0010_standard_terms").rename_permission

FIELDS = ("state", "attempts", "last_error", "sent_at")
ALL_CHANNELS = "all channels"
"""Channel of deliveries from before: one state was stored for all channels."""


def forwards(apps, schema_editor):
    add_deliveries_to_channels(apps)
    add_notifications_to_webhook_deliveries(apps)
    # PostgreSQL alters no table while the transaction has foreign keys that are not checked yet.
    schema_editor.connection.check_constraints()


def add_deliveries_to_channels(apps):
    """Add a pending delivery for each configured channel, and one delivery for notifications that are not pending."""
    notifications, deliveries = (apps.get_model("trading", name).objects for name in ("Notification", "Delivery"))
    channels = [f"NOTIFICATION_URLS {number}" for number in range(1, len(settings.NOTIFICATION_URLS) + 1)]
    if settings.USER_NOTIFICATIONS_ENABLED and settings.USER_NOTIFICATIONS_CHANNEL:
        channels.append("USER_NOTIFICATIONS_CHANNEL")
    if not channels:
        error = "No notification channel is configured."
        notifications.filter(state="pending").update(state="abandoned", last_error=error)
    added = [
        deliveries.model(notification=row, channel=channel, **{field: getattr(row, field) for field in FIELDS})
        for row in notifications.order_by("pk")
        for channel in (channels if row.state == "pending" else [ALL_CHANNELS])
    ]
    deliveries.bulk_create(added, batch_size=500)
    of_notification = notifications.filter(pk=models.OuterRef("notification"))
    deliveries.filter(webhook=None).update(
        created_at=models.Subquery(of_notification.values("created_at")),
        next_attempt_at=models.Subquery(of_notification.values("next_attempt_at")),
    )


def add_notifications_to_webhook_deliveries(apps):
    """Find the notification of each delivery to a webhook by its time and title; add it if it was deleted."""
    notifications, deliveries = (apps.get_model("trading", name).objects for name in ("Notification", "Delivery"))
    known = {(row.created_at.isoformat(), row.title): row for row in notifications.all()}
    for delivery in deliveries.exclude(webhook=None).select_related("webhook"):
        content = json.loads(delivery.body or "{}")
        kind, title = content.get("kind", "warning"), content.get("title", "")
        created_at = content.get("created_at", delivery.created_at.isoformat())
        if (created_at, title) not in known:
            added = notifications.create(kind=kind, title=title, body=content.get("body", ""), state="sent")
            notifications.filter(pk=added.pk).update(created_at=created_at)
            known[created_at, title] = added
        deliveries.filter(pk=delivery.pk).update(
            notification=known[created_at, title], channel=f"webhook {delivery.webhook.name}"
        )


def backwards(apps, schema_editor):
    notifications, deliveries = (apps.get_model("trading", name).objects for name in ("Notification", "Delivery"))
    of_channels = deliveries.filter(webhook=None)
    pending, sent = (of_channels.filter(state=state).values("notification") for state in ("pending", "sent"))
    finished = notifications.exclude(pk__in=pending)
    finished.filter(pk__in=sent).update(state="sent")
    finished.exclude(pk__in=sent).update(state="abandoned")
    deliveries.filter(webhook=None).delete()
    schema_editor.connection.check_constraints()


def rename_permissions(apps, old, new):
    for verb in ("view", "add", "change", "delete"):
        rename_permission(apps, f"{verb}_{old[0]}", f"{verb}_{new[0]}", f"Can {verb} {new[1]}")


def permissions_forwards(apps, schema_editor):
    rename_permissions(apps, ("webhookdelivery", "webhook delivery"), ("delivery", "delivery"))


def permissions_backwards(apps, schema_editor):
    rename_permissions(apps, ("delivery", "delivery"), ("webhookdelivery", "webhook delivery"))


class Migration(migrations.Migration):
    dependencies = [("trading", "0011_plan_hash"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        migrations.AlterModelTable("webhookdelivery", "trading_webhookdelivery"),
        migrations.RenameModel("WebhookDelivery", "Delivery"),
        migrations.RunPython(permissions_forwards, permissions_backwards),
        migrations.AlterModelOptions("delivery", options={"ordering": ("-id",), "verbose_name_plural": "deliveries"}),
        migrations.RenameIndex("delivery", old_name="webhook_due", new_name="delivery_due"),
        migrations.AddField(
            "delivery", "channel", models.CharField(max_length=100, default=""), preserve_default=False
        ),
        migrations.AddField(
            "delivery",
            "notification",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="trading.notification",
            ),
        ),
        migrations.AlterField(
            "delivery",
            "webhook",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="trading.webhook",
            ),
        ),
        migrations.AlterField("delivery", "body", models.TextField(blank=True)),
        migrations.AlterField(
            "delivery",
            "state",
            models.CharField(
                choices=[("pending", "Pending"), ("sent", "Sent"), ("abandoned", "Failed")],
                default="pending",
                max_length=9,
            ),
        ),
        migrations.RunPython(forwards, backwards),
        migrations.AlterField(
            "delivery",
            "notification",
            models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="trading.notification"
            ),
        ),
        migrations.RemoveIndex("notification", "notification_due"),
        *(
            migrations.RemoveField("notification", name)
            for name in ("state", "attempts", "next_attempt_at", "last_error", "sent_at")
        ),
    ]
