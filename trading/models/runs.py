import secrets
from typing import TypeVar

from django.db import models
from django.db.models import Q, QuerySet, Value

from trading.error_codes import needs_approval

RUN_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0/o, 1/l/i: operators read run ids aloud


def new_run_id() -> str:
    """Return ten random characters: short enough for a broker's order reference, unique across installations."""
    return "".join(secrets.choice(RUN_ID_ALPHABET) for _ in range(10))


class RunMode(models.TextChoices):
    """Whether a run may send orders."""

    PREVIEW = "preview", "Preview"
    EXECUTE = "execute", "Execute"


class RunState(models.TextChoices):
    """State of a run; docs/architecture.md shows the transitions."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DEFERRED = "deferred", "Deferred"
    COMPLETED = "completed", "Completed"
    REFUSED = "refused", "Refused"
    STOPPED = "stopped", "Stopped"
    FAILED = "failed", "Failed"
    NEEDS_ATTENTION = "needs_attention", "Needs attention"
    SUPERSEDED = "superseded", "Superseded"

    @classmethod
    def unfinished(cls) -> tuple["RunState", ...]:
        """Return the states that a run leaves without a user's action."""
        return (cls.QUEUED, cls.RUNNING, cls.DEFERRED)


class RunOutcome(models.TextChoices):
    """What became of a run and its plan; `trading.journal.outcomes` decides. A run in progress has none."""

    NOTHING_TO_DO = "nothing_to_do", "Nothing to trade"
    DONE = "done", "Done"
    PARTLY_DONE = "partly_done", "Partly done"
    STOPPED = "stopped", "Stopped"
    REFUSED = "refused", "Refused"
    DEFERRED = "deferred", "Deferred"
    FAILED = "failed", "Failed"
    NEEDS_ATTENTION = "needs_attention", "Needs attention"


class RunStep(models.TextChoices):
    """Current step of a running run."""

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
    outcome = models.CharField(max_length=16, choices=RunOutcome, blank=True, default="", db_default="")
    summary = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Figures of an ended run for lists: orders, amount, largest drift before and after.",
    )
    approved_preview = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="execution"
    )
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    requester_name = models.CharField(
        max_length=150, blank=True, db_default="", help_text="Kept when the user is deleted."
    )
    requester_verified = models.BooleanField(
        default=False, db_default=False, help_text="The user was verified with a two-factor code."
    )

    queued_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(
        null=True, blank=True, help_text="Start of the wait for the broker, with open orders."
    )
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requester_name = models.CharField(max_length=150, blank=True, default="", db_default="")
    cancel_requested_at = models.DateTimeField(
        null=True, blank=True, help_text="A user asked to cancel the working orders of the run."
    )
    epoch = models.BigIntegerField(default=0, help_text="Epoch of the lease under which it runs.")
    attempts = models.PositiveIntegerField(
        default=0, help_text="Number of leases under which it was started or resumed."
    )
    idle_attempts = models.PositiveIntegerField(default=0, help_text="Latest consecutive attempts without progress.")

    policy = models.JSONField(default=dict, help_text="The account's policy, frozen from the first order on.")
    basis = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="What else the plan was made under: strategy, replacement rules, type of the account.",
    )
    targets = models.JSONField(default=list, help_text="Targets after replacements, as weights.")
    snapshot = models.JSONField(default=dict, help_text="The account at the time of the plan.")
    quotes = models.JSONField(default=list, help_text="Quotes used by the plan.")
    instruments = models.JSONField(
        default=dict, help_text="Names and types of the symbols, as the broker reports them."
    )
    guards = models.JSONField(default=list, help_text="Result of each guard.")
    result = models.JSONField(default=dict, help_text="Result of the calculator.")
    plan_hash = models.CharField(max_length=64, blank=True, db_column="plan_digest")
    plan_expires_at = models.DateTimeField(null=True, blank=True)
    approval_until = models.DateTimeField(
        null=True, blank=True, help_text="The plan waits for a user's approval until then: the session's close."
    )
    approval_closed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the end of that time was processed, answered or not."
    )
    declined_at = models.DateTimeField(null=True, blank=True)
    declined_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    decliner_name = models.CharField(
        max_length=150, blank=True, db_default="", help_text="Kept when the user is deleted."
    )
    decline_note = models.CharField(max_length=500, blank=True, db_default="")
    warnings = models.JSONField(default=list)
    report = models.JSONField(default=dict, help_text="Outcome of the run.")
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
            models.Index(fields=("outcome", "-id"), name="run_by_outcome_newest"),
            models.Index(
                fields=("approval_until",), condition=Q(approval_until__isnull=False), name="run_by_approval_until"
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("account",), condition=Q(state="running", mode="execute"), name="one_executing_run_per_account"
            ),
            models.UniqueConstraint(
                fields=("account", "mode"), condition=Q(state="queued"), name="one_queued_run_per_account_and_mode"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_mode_display()} {self.run_id}"

    @property
    def is_finished(self) -> bool:
        """Whether the run leaves its state only by a user's action, or never."""
        return self.state not in RunState.unfinished()

    @property
    def is_held(self) -> bool:
        """Whether it was stopped before its first order because its plan needs a person's approval."""
        held = self.state == RunState.REFUSED and needs_approval(self.error_code)
        return self.mode == RunMode.EXECUTE and held and self.plan_hash != ""


DOCUMENTS = (
    "policy",
    "basis",
    "targets",
    "snapshot",
    "quotes",
    "instruments",
    "guards",
    "result",
    "report",
    "warnings",
)
Rows = TypeVar("Rows", bound=models.Model)


def without_documents(rows: "QuerySet[Rows]", run: str = "") -> "QuerySet[Rows]":
    """Defer the large JSON fields of runs, which no list shows; `run` is the lookup prefix from the row to its run."""
    return rows.defer(*(f"{run}{name}" for name in DOCUMENTS))


class TimelineEntry(models.Model):
    """One entry of a run's timeline."""

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
