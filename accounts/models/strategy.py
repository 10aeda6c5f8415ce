from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from accounts.validators import STRATEGY_NAME, SYMBOL

SCHEDULE_FIELDS = ("cadence", "drift_check", "drift_check_minutes")


class Strategy(models.Model):
    """A set of targets; its name is also the Ably channel on which its events come."""

    class Source(models.TextChoices):
        """Where the targets come from."""

        API = "api", "Allocations service"
        STATIC = "static", "Rows below"

    class LateEventPolicy(models.TextChoices):
        """What is done about an event that comes late."""

        PREVIEW = "preview", "Preview only"
        RUN = "run", "Carry it out"
        SKIP = "skip", "Skip it"

    class Cadence(models.TextChoices):
        """How often its accounts are rebalanced by the calendar, on the first session of the period."""

        NONE = "none", "Not by the calendar"
        WEEKLY = "weekly", "First session of each week"
        MONTHLY = "monthly", "First session of each month"
        QUARTERLY = "quarterly", "First session of each quarter"

    class DriftCheck(models.TextChoices):
        """What a look at the drift of its accounts, once a session, leads to."""

        OFF = "off", "No checks"
        REPORT = "report", "Preview, and tell when an account is outside its band"
        EXECUTE = "execute", "Preview, and rebalance when an account is outside its band"

    name = models.CharField(max_length=64, unique=True, validators=[STRATEGY_NAME], help_text="Also its Ably channel.")
    title = models.CharField(max_length=80, blank=True, help_text="What people call it.")
    source = models.CharField(max_length=6, choices=Source, default=Source.API)
    enabled = models.BooleanField(default=True, help_text="A disabled strategy starts no runs.")
    late_event_policy = models.CharField(max_length=7, choices=LateEventPolicy, default=LateEventPolicy.PREVIEW)
    late_after_seconds = models.PositiveIntegerField(
        default=900, help_text="An event older than this many seconds at receipt is late."
    )
    cadence = models.CharField(max_length=9, choices=Cadence, default=Cadence.NONE)
    drift_check = models.CharField(max_length=7, choices=DriftCheck, default=DriftCheck.OFF)
    drift_check_minutes = models.PositiveIntegerField(
        default=30, validators=[MaxValueValidator(300)], help_text="The check is made so many minutes after the open."
    )
    auto_approve_turnover_percent = models.DecimalField(
        "held plans approve themselves below",
        max_digits=7,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(1000))],
        help_text="A plan that is held, and trades less of the account than so many percent, buys no symbol that the "
        "account does not hold, and has nothing to note about it, is sent without a person. Empty: never.",
    )
    schedule_changed_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="What was due before the schedule was set is not made up for."
    )
    notes = models.TextField(blank=True)
    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.display_name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves it; a changed schedule counts from now on."""
        known = Strategy.objects.filter(pk=self.pk).values_list(*SCHEDULE_FIELDS).first()
        if known is not None and known != tuple(getattr(self, field) for field in SCHEDULE_FIELDS):
            self.schedule_changed_at = timezone.now()
            if (fields := kwargs.get("update_fields")) is not None:
                kwargs["update_fields"] = {*fields, "schedule_changed_at"}
        super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        """Its title, else its name."""
        return self.title or self.name


class TargetAllocation(models.Model):
    """The wanted weight of a symbol in a static strategy."""

    strategy = models.ForeignKey(Strategy, on_delete=models.CASCADE, related_name="targets")
    symbol = models.CharField(max_length=15, validators=[SYMBOL])
    weight = models.DecimalField(
        max_digits=10,
        decimal_places=8,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1))],
        help_text="A fraction of the account's value: 0.25 is a quarter.",
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
