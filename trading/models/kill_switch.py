from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords


class TradingControl(models.Model):
    """The global kill switch, a table of one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    trading_paused = models.BooleanField(
        default=False, help_text="While this is on, no account sends orders. Orders already submitted remain active."
    )
    reason = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    history = HistoricalRecords()

    class Meta:
        verbose_name = verbose_name_plural = "trading control"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_trading_control"),)

    def __str__(self) -> str:
        return "Trading paused" if self.trading_paused else "Trading active"
