from django.db import models
from django.db.models import F


class BrokerConnection(models.Model):
    """A slot: one link to a broker, with its own fixed client id and the lease of whoever works it."""

    broker = models.CharField(max_length=40)
    environment = models.CharField(max_length=5)
    client_id = models.PositiveIntegerField(
        unique=True, help_text="Always the same for this slot: it is the last fence."
    )
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_epoch = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    in_use_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when the broker says that the client id is taken elsewhere."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("client_id",)
        indexes = (models.Index(F("broker"), F("environment"), name="slot_by_broker"),)

    def __str__(self) -> str:
        return f"{self.broker} {self.environment} #{self.client_id}"
