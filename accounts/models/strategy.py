from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from accounts.validators import STRATEGY_NAME, SYMBOL


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

    name = models.CharField(max_length=64, unique=True, validators=[STRATEGY_NAME], help_text="Also its Ably channel.")
    title = models.CharField(max_length=80, blank=True, help_text="What people call it.")
    source = models.CharField(max_length=6, choices=Source, default=Source.API)
    enabled = models.BooleanField(default=True, help_text="A disabled strategy starts no runs.")
    late_event_policy = models.CharField(max_length=7, choices=LateEventPolicy, default=LateEventPolicy.PREVIEW)
    late_after_seconds = models.PositiveIntegerField(
        default=900, help_text="An event older than this many seconds at receipt is late."
    )
    notes = models.TextField(blank=True)
    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.display_name

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
