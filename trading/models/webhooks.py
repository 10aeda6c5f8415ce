import uuid

from django.core.validators import MaxLengthValidator
from django.db import models

from trading.models.notifications import NotificationState


def new_key_id() -> str:
    """What a signing key is derived from, together with SECRET_KEY: the key itself is stored nowhere."""
    return uuid.uuid4().hex


class Webhook(models.Model):
    """An address of somebody else's that is told, signed, what people are told."""

    name = models.CharField(max_length=80, unique=True)
    url = models.URLField(max_length=500, validators=[MaxLengthValidator(500)])
    enabled = models.BooleanField(default=True)
    key_id = models.CharField(max_length=32, default=new_key_id, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """A row of the outbox for one webhook: written with what it tells of, retried until it is taken."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    delivery_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    body = models.TextField()
    state = models.CharField(max_length=9, choices=NotificationState, default=NotificationState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(auto_now_add=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "webhook deliveries"
        indexes = (models.Index(fields=("state", "next_attempt_at"), name="webhook_due"),)

    def __str__(self) -> str:
        return f"{self.webhook} {self.delivery_id}"
