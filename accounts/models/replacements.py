from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from accounts.models.plan_input import PlanInput
from accounts.validators import SET_NAME, SYMBOL


class ReplacementSet(PlanInput):
    """Rules that replace source symbols by target symbols, for accounts that must not hold the source."""

    name = models.CharField(max_length=64, unique=True, validators=[SET_NAME])
    description = models.CharField(max_length=200, blank=True)
    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ReplacementRule(PlanInput):
    """One rule: the weight of `source`, times `scale`, becomes weight of `target`."""

    replacement_set = models.ForeignKey(ReplacementSet, on_delete=models.CASCADE, related_name="rules")
    source = models.CharField(max_length=15, validators=[SYMBOL])
    target = models.CharField(max_length=15, validators=[SYMBOL])
    scale = models.DecimalField(
        max_digits=9,
        decimal_places=4,
        default=Decimal(1),
        validators=[MinValueValidator(Decimal("0.0001")), MaxValueValidator(Decimal(100))],
        help_text="With 1.5, the target gets 1.5 times the weight of the source. The other weights are reduced.",
    )
    history = HistoricalRecords()

    class Meta:
        ordering = ("source",)
        constraints = (
            models.UniqueConstraint(fields=("replacement_set", "source"), name="replacement_source_once_per_set"),
            models.CheckConstraint(condition=Q(scale__gt=0), name="replacement_scale_is_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="replacement_is_not_itself"),
        )

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"

    def clean(self) -> None:
        """Reject a rule whose source is its target."""
        if self.source and self.source == self.target:
            raise ValidationError({"target": "A symbol cannot replace itself."})
