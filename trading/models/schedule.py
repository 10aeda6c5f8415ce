from django.db import models
from django.db.models import Q, QuerySet

from accounts.models.account import FOLLOWED_STRATEGY
from trading.models.runs import without_documents


class ScheduleOrigin(models.TextChoices):
    """Who or what scheduled an account."""

    COMMAND = "command", "Command"
    PERSON = "person", "User"
    CADENCE = "cadence", "Strategy cadence"
    DEFERRED = "deferred", "Deferred by a guard"
    RETRY = "retry", "Retry"
    MISSED = "missed", "Missed earlier"


class ScheduleState(models.TextChoices):
    """State of a schedule entry."""

    WAITING = "waiting", "Waiting"
    STARTED = "started", "Started"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    MISSED = "missed", "Missed"
    MOVED = "moved", "Moved to a later session"
    SUPERSEDED = "superseded", "Superseded"
    REMOVED = "removed", "Removed"


class ScheduleEntry(models.Model):
    """An account scheduled for the open of a session. An entry starts at most one run, whichever process starts it."""

    key = models.CharField(max_length=64, unique=True, help_text="open:<account>:<session date>")
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="schedule_entries")
    session_date = models.DateField(help_text="Exchange session at whose open it starts.")
    due_at = models.DateTimeField(help_text="Start time; never before the session opens.")
    origin = models.CharField(max_length=8, choices=ScheduleOrigin)
    state = models.CharField(max_length=10, choices=ScheduleState, default=ScheduleState.WAITING)
    attempt = models.PositiveSmallIntegerField(default=1, help_text="Number of opens attempted, including this one.")
    run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.PROTECT, related_name="schedule_entries"
    )
    follow_up = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="follows",
        help_text="The entry that replaces it.",
    )
    message = models.TextField(blank=True, help_text="Reason of the entry, or its outcome.")
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    requester_name = models.CharField(
        max_length=150, blank=True, db_default="", help_text="Kept when the user is deleted."
    )
    requester_verified = models.BooleanField(
        default=False, db_default=False, help_text="The user was verified with a two-factor code."
    )
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
        """Return waiting and started entries, and failed or missed ones that no other entry follows."""
        entries = cls.objects.filter(_open())
        return without_documents(
            entries.select_related(f"account__{FOLLOWED_STRATEGY}", "run", "requested_by"), "run__"
        )

    @classmethod
    def past_entries(cls) -> "QuerySet[ScheduleEntry]":
        """Return all entries that need nothing more."""
        return without_documents(cls.objects.exclude(_open()).select_related("account", "run"), "run__")


def _open() -> Q:
    active = Q(state__in=(ScheduleState.WAITING, ScheduleState.STARTED))
    not_followed = Q(state__in=(ScheduleState.FAILED, ScheduleState.MISSED), follow_up__isnull=True)
    return active | not_followed


class ScheduledJob(models.Model):
    """A job that is executed once per session, by its key: a cadence, a drift check or a readiness check."""

    class Kind(models.TextChoices):
        """Kind of a scheduled job."""

        CADENCE = "cadence", "Cadence"
        DRIFT = "drift", "Drift check"
        READINESS = "ready", "Readiness check"

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
