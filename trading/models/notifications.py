from django.db import models


class NotificationKind(models.TextChoices):
    """What a message to people is about."""

    SUCCESS = "success", "Success"
    WARNING = "warning", "Warning"
    FAILURE = "failure", "Failure"
    BLOCKED = "blocked", "Trade guard"


class NotificationState(models.TextChoices):
    """Where a message stands."""

    PENDING = "pending", "Pending"
    SENT = "sent", "Sent"
    ABANDONED = "abandoned", "Abandoned"


class Notification(models.Model):
    """A row of the outbox: written with what it tells of, delivered later, retried until it is."""

    kind = models.CharField(max_length=8, choices=NotificationKind)
    title = models.CharField(max_length=200)
    body = models.TextField()
    run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.CASCADE, related_name="notifications"
    )
    state = models.CharField(max_length=9, choices=NotificationState, default=NotificationState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(auto_now_add=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=("state", "next_attempt_at"), name="notification_due"),)

    def __str__(self) -> str:
        return self.title
