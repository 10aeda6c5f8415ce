from django.db import models
from django.db.models import F


class BrokerConnection(models.Model):
    """A slot: the lease row of one connection to a broker, with its fixed client id."""

    broker = models.CharField(max_length=40)
    environment = models.CharField(max_length=5)
    client_id = models.PositiveIntegerField(
        help_text="Fixed for this slot, so that the broker rejects a second connection of the slot."
    )
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_epoch = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    in_use_since = models.DateTimeField(
        null=True, blank=True, help_text="Time since which the broker reports that another process uses the client id."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("client_id",)
        indexes = (models.Index(F("broker"), F("environment"), name="slot_by_broker"),)
        constraints = (
            models.UniqueConstraint(fields=("broker", "environment", "client_id"), name="client_id_once_per_gateway"),
        )

    def __str__(self) -> str:
        return f"{self.broker} {self.environment} #{self.client_id}"
