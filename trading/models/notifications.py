import uuid

from django.db import models


class NotificationKind(models.TextChoices):
    """The severity of a notification."""

    SUCCESS = "success", "Success"
    WARNING = "warning", "Warning"
    FAILURE = "failure", "Failure"
    BLOCKED = "blocked", "Trade guard"


class DeliveryState(models.TextChoices):
    """The state of a delivery."""

    PENDING = "pending", "Pending"
    SENT = "sent", "Sent"
    ABANDONED = "abandoned", "Failed"


class Notification(models.Model):
    """A message to the operators. It is written in the transaction of the change that it reports."""

    kind = models.CharField(max_length=8, choices=NotificationKind)
    title = models.CharField(max_length=200)
    body = models.TextField()
    run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.CASCADE, related_name="notifications"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """A row of the outbox: one notification for one channel, retried until the channel accepts it."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=100)
    webhook = models.ForeignKey(
        "trading.Webhook", null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    delivery_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    body = models.TextField(blank=True)
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(auto_now_add=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # The table held deliveries to webhooks only, at first.
        db_table = "trading_webhookdelivery"
        ordering = ("-id",)
        verbose_name_plural = "deliveries"
        indexes = (models.Index(fields=("state", "next_attempt_at"), name="delivery_due"),)

    def __str__(self) -> str:
        return f"{self.channel} {self.delivery_id}"
