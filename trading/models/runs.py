import secrets
from typing import TypeVar

from django.db import models
from django.db.models import Q, QuerySet

from trading.error_codes import HELD

RUN_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0/o, 1/l/i: people read these aloud


def new_run_id() -> str:
    """Ten characters, short enough for a broker's order reference, random enough for many installations."""
    return "".join(secrets.choice(RUN_ID_ALPHABET) for _ in range(10))


class RunMode(models.TextChoices):
    """Whether a run may send orders."""

    PREVIEW = "preview", "Preview"
    EXECUTE = "execute", "Execute"


class RunState(models.TextChoices):
    """Where a run stands; docs/architecture.md draws the transitions."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DEFERRED = "deferred", "Deferred"
    COMPLETED = "completed", "Completed"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    NEEDS_ATTENTION = "needs_attention", "Needs attention"
    SUPERSEDED = "superseded", "Superseded"

    @classmethod
    def unfinished(cls) -> tuple["RunState", ...]:
        """States that still lead somewhere by themselves."""
        return (cls.QUEUED, cls.RUNNING, cls.DEFERRED)


class RunStep(models.TextChoices):
    """How far a running run has come."""

    WAITING = "waiting", "Waiting"
    TARGETS = "targets", "Targets"
    SNAPSHOT = "snapshot", "Snapshot"
    QUOTES = "quotes", "Quotes"
    PLAN = "plan", "Plan"
    SELLS = "sells", "Sells"
    BUYS = "buys", "Buys"
    REPORT = "report", "Report"
    DONE = "done", "Done"


class RebalanceRun(models.Model):
    """One attempt to rebalance, or preview, one account."""

    run_id = models.CharField(max_length=10, unique=True, default=new_run_id, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="runs")
    event = models.ForeignKey("trading.StrategyEvent", on_delete=models.PROTECT, related_name="runs")
    connection = models.ForeignKey("accounts.BrokerConnection", on_delete=models.PROTECT, related_name="runs")
    strategy_name = models.CharField(max_length=64, blank=True)
    mode = models.CharField(max_length=8, choices=RunMode)
    state = models.CharField(max_length=16, choices=RunState, default=RunState.QUEUED)
    step = models.CharField(max_length=10, choices=RunStep, default=RunStep.WAITING)
    approved_preview = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="execution"
    )
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    queued_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when it waits for the broker with orders in the air."
    )
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    epoch = models.BigIntegerField(default=0, help_text="Epoch of the lease under which it runs.")
    attempts = models.PositiveIntegerField(default=0, help_text="Leases under which it was taken up.")
    idle_attempts = models.PositiveIntegerField(default=0, help_text="Of these, the latest without progress.")

    policy = models.JSONField(default=dict, help_text="The account's policy, frozen.")
    targets = models.JSONField(default=list, help_text="Targets after replacements, as weights.")
    snapshot = models.JSONField(default=dict, help_text="The account when it was planned.")
    quotes = models.JSONField(default=list, help_text="The quotes that the plan was made with.")
    instruments = models.JSONField(default=dict, help_text="Names and kinds of the symbols, as the broker has them.")
    guards = models.JSONField(default=list, help_text="What each guard said.")
    result = models.JSONField(default=dict, help_text="What the calculator answered.")
    plan_hash = models.CharField(max_length=64, blank=True, db_column="plan_digest")
    plan_expires_at = models.DateTimeField(null=True, blank=True)
    warnings = models.JSONField(default=list)
    report = models.JSONField(default=dict, help_text="What came of it.")
    error_code = models.CharField(max_length=48, blank=True)
    error_message = models.TextField(blank=True)
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    residual_drift = models.DecimalField(max_digits=12, decimal_places=8, null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        permissions = (("resolve_order", "Can resolve orders manually and close runs"),)
        indexes = (
            models.Index(fields=("account", "-id"), name="run_by_account"),
            models.Index(fields=("state", "connection"), name="run_by_state"),
            models.Index(fields=("state", "-id"), name="run_by_state_newest"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("account",),
                condition=Q(state="running", mode="execute"),
                name="one_executing_run_per_account",
            ),
            models.UniqueConstraint(
                fields=("account", "mode"),
                condition=Q(state="queued"),
                name="one_queued_run_per_account_and_mode",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_mode_display()} {self.run_id}"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state not in RunState.unfinished()

    @property
    def is_held(self) -> bool:
        """Whether it was stopped before its first order because its plan needs a person's approval."""
        held = self.state == RunState.REFUSED and self.error_code in HELD
        return self.mode == RunMode.EXECUTE and held and self.plan_hash != ""


DOCUMENTS = ("policy", "targets", "snapshot", "quotes", "instruments", "guards", "result", "report", "warnings")
Rows = TypeVar("Rows", bound=models.Model)


def without_documents(rows: "QuerySet[Rows]", run: str = "") -> "QuerySet[Rows]":
    """The rows without what weighs most of a run and no list shows; `run` is the way from the row to its run."""
    return rows.defer(*(f"{run}{name}" for name in DOCUMENTS))


class TimelineEntry(models.Model):
    """One sentence of a run's story."""

    run = models.ForeignKey(RebalanceRun, on_delete=models.CASCADE, related_name="timeline")
    at = models.DateTimeField(auto_now_add=True)
    level = models.CharField(max_length=8, default="info")
    code = models.CharField(max_length=48)
    message = models.TextField()

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "timeline entries"

    def __str__(self) -> str:
        return self.message
