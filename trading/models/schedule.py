from django.db import models
from django.db.models import Q, QuerySet

from trading.models.runs import without_documents


class ScheduleOrigin(models.TextChoices):
    """Who or what has put an account on the schedule."""

    COMMAND = "command", "Command"
    PERSON = "person", "Person"
    CADENCE = "cadence", "Cadence of its strategy"
    DEFERRED = "deferred", "Put aside by a guard"
    RETRY = "retry", "Another try"
    MISSED = "missed", "Missed before"


class ScheduleState(models.TextChoices):
    """Where a scheduled account stands."""

    WAITING = "waiting", "Waiting"
    STARTED = "started", "Started"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    MISSED = "missed", "Missed"
    MOVED = "moved", "Moved to a later session"
    SUPERSEDED = "superseded", "Superseded"
    REMOVED = "removed", "Removed"


class ScheduleEntry(models.Model):
    """That an account is to be rebalanced at the open of a session. It starts one run, whoever fires it."""

    key = models.CharField(max_length=64, unique=True, help_text="open:<account>:<session date>")
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="schedule_entries")
    session_date = models.DateField(help_text="The exchange session at whose open it starts.")
    due_at = models.DateTimeField(help_text="When it starts; never before the session opens.")
    origin = models.CharField(max_length=8, choices=ScheduleOrigin)
    state = models.CharField(max_length=10, choices=ScheduleState, default=ScheduleState.WAITING)
    attempt = models.PositiveSmallIntegerField(
        default=1, help_text="How many opens have been tried, this one included."
    )
    run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.PROTECT, related_name="schedule_entries"
    )
    follow_up = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="follows", help_text="What came of it."
    )
    message = models.TextField(blank=True, help_text="Why it is here, or what has happened to it.")
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("due_at", "account_id", "id")
        verbose_name_plural = "schedule entries"
        indexes = (models.Index(fields=("state", "due_at"), name="schedule_by_state"),)

    def __str__(self) -> str:
        return f"{self.account.account_id} on {self.session_date} ({self.get_state_display().lower()})"

    @classmethod
    def open_entries(cls) -> "QuerySet[ScheduleEntry]":
        """What waits or goes on, and what went wrong and was not taken up again: nothing of it is dropped silently."""
        entries = cls.objects.filter(_open())
        return without_documents(entries.select_related("account__strategy", "run", "requested_by"), "run__")

    @classmethod
    def past_entries(cls) -> "QuerySet[ScheduleEntry]":
        """All the others: what came of them is told, and nothing more is to be done."""
        return without_documents(cls.objects.exclude(_open()).select_related("account", "run"), "run__")


def _open() -> Q:
    going_on = Q(state__in=(ScheduleState.WAITING, ScheduleState.STARTED))
    went_wrong = Q(state__in=(ScheduleState.FAILED, ScheduleState.MISSED), follow_up__isnull=True)
    return going_on | went_wrong


class ScheduledJob(models.Model):
    """Something that is done once for a session, by its key: a cadence, a drift check, a readiness probe."""

    class Kind(models.TextChoices):
        """What it is."""

        CADENCE = "cadence", "Cadence"
        DRIFT = "drift", "Drift check"
        READINESS = "ready", "Readiness probe"

    key = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    session_date = models.DateField()
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    succeeded = models.BooleanField(null=True, blank=True)
    outcome = models.TextField(blank=True)

    class Meta:
        ordering = ("-due_at", "key")

    def __str__(self) -> str:
        return self.key
