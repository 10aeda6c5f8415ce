from decimal import Decimal

from django.db import models
from django.db.models import Value
from django.utils import timezone

from trading.common.formats import instant_text


class AccountValue(models.Model):
    """Value of an account at one snapshot, of a run or of the daily valuation."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="values")
    at = models.DateTimeField(default=timezone.now)
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)
    shares = models.JSONField(
        null=True, blank=True, help_text="Quantities by symbol, to distinguish a deposit from a trade elsewhere."
    )

    class Meta:
        ordering = ("at",)
        indexes = (models.Index(fields=("account", "at"), name="value_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"


class StandingState(models.TextChoices):
    """Result of the latest comparison of an account with its targets."""

    INSIDE = "inside", "Inside the band"
    OUTSIDE = "outside", "Outside the band"
    UNKNOWN = "unknown", "Not checked yet"
    VOID = "void", "Changed since the last check"


class AccountStanding(models.Model):
    """Standing of an account: its newest snapshot, compared with today's targets under today's policy.

    An account without a row has never been read: its standing is unknown. Value, cash, weights and drift always come
    from the same snapshot, read at `as_of`. The row is written by `trading/journal/account_status.py` only.
    A page of a thousand accounts cannot read a thousand plans; this row has the few values that it needs of each.
    """

    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, related_name="standing")
    as_of = models.DateTimeField(
        db_column="seen_at", help_text="Time at which value, cash and positions were read, and the drift applies."
    )
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)
    state = models.CharField(
        max_length=7, choices=StandingState, default=StandingState.UNKNOWN, db_default=StandingState.UNKNOWN
    )
    reason_code = models.CharField(max_length=48, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="", db_default="", help_text="Why the account has this state.")
    changed_at = models.DateTimeField(
        null=True, blank=True, help_text="Time since when the comparison is void, because its settings changed."
    )
    largest_drift_percent = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Largest drift of a symbol or of cash, in percentage points. Empty while unknown or void.",
    )
    band_percent = models.DecimalField(
        max_digits=16, decimal_places=4, null=True, blank=True, help_text="Drift band of the comparison."
    )
    weights = models.JSONField(default=list, help_text="Symbols with their weights, largest first, cash last.")
    target_weights = models.JSONField(null=True, blank=True, help_text="Target weights of the comparison, by symbol.")
    snapshot = models.JSONField(null=True, blank=True, help_text="Positions that the comparison was made from.")
    basis = models.JSONField(null=True, blank=True, help_text="Digests of the settings of the comparison.")
    planned_run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        verbose_name = "account status"
        verbose_name_plural = "account statuses"
        ordering = ("account",)
        indexes = (models.Index(fields=("state", "-largest_drift_percent"), name="standing_by_state"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd} {self.state}"

    @property
    def is_outside(self) -> bool:
        """Whether the account was outside its band at the latest comparison, which is still valid."""
        return self.state == StandingState.OUTSIDE

    @property
    def largest_drift_pp(self) -> Decimal | None:
        """Return the largest drift, cash included, in percentage points; None while unknown or void."""
        return self.largest_drift_percent


class AccountRefresh(models.Model):
    """The latest request of a user to read an account at the broker now, and its outcome."""

    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, related_name="refresh")
    requested_at = models.DateTimeField(default=timezone.now)
    requested_by = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="Empty while the account is being read.")
    error_code = models.CharField(max_length=48, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        ordering = ("-requested_at",)

    def __str__(self) -> str:
        return f"{self.account} {instant_text(self.requested_at)}"

    @property
    def is_pending(self) -> bool:
        """Whether no worker has answered the request yet."""
        return self.finished_at is None


class TotalValue(models.Model):
    """Total value of all enabled accounts on one day, from their latest values."""

    day = models.DateField(unique=True)
    total_value_usd = models.DecimalField(max_digits=24, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=24, decimal_places=4)
    accounts = models.PositiveIntegerField()
    account_values = models.JSONField(
        default=dict, db_default=Value({}, models.JSONField()), help_text="Value by primary key of the account."
    )
    flow_usd = models.DecimalField(
        max_digits=24,
        decimal_places=4,
        null=True,
        blank=True,
        help_text="Money in since the day before, or out: paid in, or with accounts added or disabled.",
    )

    class Meta:
        ordering = ("day",)

    def __str__(self) -> str:
        return f"{self.day} {self.total_value_usd}"
