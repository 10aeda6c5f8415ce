from django.db import models
from django.db.models import Value
from django.utils import timezone


class AccountValue(models.Model):
    """Value of an account at one snapshot, of a run or of the daily valuation."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="values")
    at = models.DateTimeField(default=timezone.now)
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)
    shares = models.JSONField(
        null=True, blank=True, help_text="Quantities by symbol, so that a deposit can be told from a trade elsewhere."
    )

    class Meta:
        ordering = ("at",)
        indexes = (models.Index(fields=("account", "at"), name="value_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"


class AccountStanding(models.Model):
    """Latest status of an account, ready for lists to sort.

    A page of a thousand accounts cannot read a thousand plans; this row has the few values that it needs of each.
    """

    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, related_name="standing")
    seen_at = models.DateTimeField(verbose_name="updated at", help_text="Time at which value and cash were read.")
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)
    planned_run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    largest_drift_percent = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="Of the newest plan, in percentage points."
    )
    is_outside = models.BooleanField(
        "outside its band", default=False, help_text="Outside the drift band, with trades to make."
    )
    weights = models.JSONField(default=list, help_text="Symbols with their weights, largest first, CASH last.")

    class Meta:
        verbose_name = "account status"
        verbose_name_plural = "account statuses"
        ordering = ("-is_outside", "-largest_drift_percent", "account")
        indexes = (models.Index(fields=("-is_outside", "-largest_drift_percent"), name="standing_worst_first"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"


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
