from django.db import models
from django.utils import timezone


class AccountValue(models.Model):
    """The value of an account at each look: of a run, or of the daily job."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="values")
    at = models.DateTimeField(default=timezone.now)
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)

    class Meta:
        ordering = ("at",)
        indexes = (models.Index(fields=("account", "at"), name="value_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"


class AccountStanding(models.Model):
    """Where an account stood when it was last looked at: what lists of accounts show, ready to sort.

    Pages of a thousand accounts cannot read a thousand plans; this row says the little they need of each.
    """

    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, related_name="standing")
    seen_at = models.DateTimeField(help_text="When value and cash were read.")
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)
    planned_run = models.ForeignKey(
        "trading.RebalanceRun", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    largest_drift_percent = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="In percentage points, of the newest plan."
    )
    is_outside = models.BooleanField(default=False, help_text="Outside its band, with something to trade.")
    weights = models.JSONField(default=list, help_text="Symbols with their weights, the largest first, CASH last.")

    class Meta:
        ordering = ("-is_outside", "-largest_drift_percent", "account")
        indexes = (models.Index(fields=("-is_outside", "-largest_drift_percent"), name="standing_worst_first"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"


class TotalValue(models.Model):
    """What all accounts were worth together on a day, by their latest values."""

    day = models.DateField(unique=True)
    total_value_usd = models.DecimalField(max_digits=24, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=24, decimal_places=4)
    accounts = models.PositiveIntegerField()

    class Meta:
        ordering = ("day",)

    def __str__(self) -> str:
        return f"{self.day} {self.total_value_usd}"
