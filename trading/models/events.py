from datetime import datetime

from django.db import models
from django.db.models import Q


class EventSource(models.TextChoices):
    """Source of an event."""

    ABLY = "ably", "Ably"
    SCHEDULE = "schedule", "Schedule"
    ADMIN = "admin", "Admin"
    COMMAND = "command", "Command"
    API = "api", "API"


class EventState(models.TextChoices):
    """Decision of the inbox on an event."""

    ACCEPTED = "accepted", "Accepted"
    LATE = "late", "Late"
    REJECTED = "rejected", "Rejected"
    BROKEN = "broken", "Processing failed"


class StrategyEvent(models.Model):
    """A message that requests a rebalance, stored complete, whatever its outcome."""

    source = models.CharField(max_length=10, choices=EventSource)
    channel = models.CharField(max_length=64, blank=True, help_text="Name of the strategy.")
    message_id = models.CharField(max_length=160)
    payload = models.TextField(help_text="As received.")
    payload_digest = models.CharField(max_length=64)
    exec = models.CharField(max_length=32, blank=True)
    account_id = models.CharField(max_length=64, blank=True)
    event_id = models.CharField(max_length=160, blank=True)
    state = models.CharField(max_length=10, choices=EventState)
    reason_code = models.CharField(max_length=48, blank=True)
    reason = models.TextField(blank=True)
    published_at = models.DateTimeField(help_text="By the clock of the sending service.")
    serial = models.CharField(
        max_length=160, blank=True, help_text="Position in the channel, where the service reports one."
    )
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)
    duplicates = models.PositiveIntegerField(default=0, help_text="Number of times that it was received again.")
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Number of attempts to process it that failed with an unexpected error."
    )
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the next attempt to process an event whose processing failed."
    )

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("channel", "-id"), name="event_by_channel_newest"),
            models.Index(fields=("next_attempt_at",), name="event_retry_due", condition=Q(state="broken")),
        )
        constraints = (
            models.UniqueConstraint(fields=("source", "channel", "message_id"), name="event_once_per_message"),
        )

    def __str__(self) -> str:
        return f"{self.channel or self.account_id} {self.exec} ({self.source})"

    @property
    def order(self) -> tuple[datetime, str]:
        """Sort key of events: an event is newer if it was published later, whenever it was received."""
        return self.published_at, self.serial
