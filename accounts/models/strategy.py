from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from accounts.cash_names import read_stock_list, reads_like_cash
from accounts.models.plan_input import PlanInput
from accounts.validators import STRATEGY_NAME, SYMBOL

SCHEDULE_FIELDS = ("cadence", "drift_check", "drift_check_minutes")


def validate_cash_like_stocks(text: str) -> None:
    """Reject entries that are no symbols, or that nobody takes for cash."""
    for symbol in read_stock_list(text):
        SYMBOL(symbol)
        if not reads_like_cash(symbol):
            raise ValidationError(f"{symbol} does not read like cash and needs no entry here. Remove it.")


class Strategy(PlanInput):
    """A set of targets. Its name is also the Ably channel of its events."""

    class Source(models.TextChoices):
        API = "api", "Allocations service"
        STATIC = "static", "Static (entered here)"

    class LateEventPolicy(models.TextChoices):
        PREVIEW = "preview", "Preview only"
        RUN = "run", "Run anyway"
        SKIP = "skip", "Skip"

    class Cadence(models.TextChoices):
        NONE = "none", "None"
        WEEKLY = "weekly", "First session of each week"
        MONTHLY = "monthly", "First session of each month"
        QUARTERLY = "quarterly", "First session of each quarter"

    class DriftCheck(models.TextChoices):
        """Action after the drift check of the accounts, once per session."""

        OFF = "off", "Off"
        REPORT = "report", "Preview, and notify if an account is outside its drift band"
        EXECUTE = "execute", "Preview, and rebalance if an account is outside its drift band"

    name = models.CharField(max_length=64, unique=True, validators=[STRATEGY_NAME], help_text="Also the Ably channel.")
    title = models.CharField(max_length=80, blank=True, help_text="Shown instead of the name.")
    source = models.CharField("source of targets", max_length=6, choices=Source, default=Source.API)
    enabled = models.BooleanField(default=True, help_text="A disabled strategy starts no runs.")
    cash_like_stocks = models.CharField(
        "stocks named like cash",
        max_length=80,
        blank=True,
        default="",
        db_default="",
        validators=[validate_cash_like_stocks],
        help_text="Symbols such as CASH or USD that mean the stock, separated by commas. Other targets that read like "
        "cash are refused: cash is what the weights leave out of 1.",
    )
    late_event_policy = models.CharField(
        "late events", max_length=7, choices=LateEventPolicy, default=LateEventPolicy.PREVIEW
    )
    late_after_seconds = models.PositiveIntegerField(
        "late after (s)", default=900, help_text="An event that is older when it is received is late."
    )
    cadence = models.CharField(max_length=9, choices=Cadence, default=Cadence.NONE)
    drift_check = models.CharField(max_length=7, choices=DriftCheck, default=DriftCheck.OFF)
    drift_check_minutes = models.PositiveIntegerField(
        "drift check (minutes after the open)", default=30, validators=[MaxValueValidator(300)]
    )
    auto_approve_turnover_percent = models.DecimalField(
        "auto-approve below (% turnover)",
        max_digits=7,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(1000))],
        help_text="A held plan is executed without approval if it trades less of the account, buys no symbol that the "
        "account does not hold, and has no warnings. Empty: never.",
    )
    schedule_changed_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="Runs that were due before this time are not started."
    )
    notes = models.TextField(blank=True)
    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.display_name

    @property
    def stocks_named_like_cash(self) -> frozenset[str]:
        """Return the symbols that mean the stock although they read like cash."""
        return frozenset(read_stock_list(self.cash_like_stocks))

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the strategy. A changed schedule takes effect from now on."""
        known = Strategy.objects.filter(pk=self.pk).values_list(*SCHEDULE_FIELDS).first()
        if known is not None and known != tuple(getattr(self, field) for field in SCHEDULE_FIELDS):
            self.schedule_changed_at = timezone.now()
            if (fields := kwargs.get("update_fields")) is not None:
                kwargs["update_fields"] = {*fields, "schedule_changed_at"}
        super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        """Return the title; without a title, the name."""
        return self.title or self.name


class TargetAllocation(PlanInput):
    """The target weight of a symbol in a static strategy."""

    strategy = models.ForeignKey(Strategy, on_delete=models.CASCADE, related_name="targets")
    symbol = models.CharField(max_length=15, validators=[SYMBOL])
    weight = models.DecimalField(
        max_digits=10,
        decimal_places=8,
        validators=[
            MinValueValidator(Decimal(0)),
            MaxValueValidator(Decimal(1), "Write a fraction of at most 1: 0.25 is 25 %%."),
        ],
        help_text="Fraction of the account value: 0.25 is 25 %.",
    )
    history = HistoricalRecords()

    class Meta:
        ordering = ("-weight", "symbol")
        constraints = (
            models.UniqueConstraint(fields=("strategy", "symbol"), name="target_once_per_symbol"),
            models.CheckConstraint(condition=Q(weight__gte=0, weight__lte=1), name="target_weight_is_a_fraction"),
        )

    def __str__(self) -> str:
        return f"{self.symbol} {self.weight.normalize():f}"
