from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from accounts.validators import ACCOUNT_ID
from brokers.registry import broker_names


def validate_broker(name: str) -> None:
    """Refuses a broker that no connector is registered for."""
    if name not in broker_names():
        raise ValidationError(f"There is no broker {name!r}. Known brokers: {', '.join(broker_names())}.")


class Account(models.Model):
    """A brokerage account that is kept at the targets of its strategy."""

    class Type(models.TextChoices):
        """Paper money or real money."""

        PAPER = "paper", "Paper"
        LIVE = "live", "Live"

    class TradeGuard(models.TextChoices):
        """What holds an account back from trading too often."""

        ONCE_PER_SESSION = "once_per_session", "Once a session"
        PDT_LEGACY = "pdt_legacy", "Pattern day trader rule"
        CASH_SETTLEMENT = "cash_settlement", "Settled cash"
        NONE = "none", "None"

    account_id = models.CharField(
        max_length=32, unique=True, validators=[ACCOUNT_ID], help_text="As the broker has it."
    )
    name = models.CharField(max_length=80, blank=True, help_text="What people call it.")
    broker = models.CharField(max_length=40, default="ibkr", validators=[validate_broker])
    type = models.CharField(max_length=5, choices=Type, default=Type.PAPER)
    enabled = models.BooleanField(default=True)
    live_armed = models.BooleanField(default=False, help_text="This account's own key to live trading.")
    trading_paused = models.BooleanField(default=False, help_text="This account's kill switch: no order is sent.")
    strategy = models.ForeignKey(
        "accounts.Strategy", null=True, blank=True, on_delete=models.PROTECT, related_name="accounts"
    )
    replacement_set = models.ForeignKey(
        "accounts.ReplacementSet", null=True, blank=True, on_delete=models.PROTECT, related_name="accounts"
    )
    policy = models.ForeignKey(
        "accounts.RebalancePolicy",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="accounts",
        help_text="Empty: the default policy.",
    )
    cash_reserve_percent = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal("99.99"))],
        help_text="Share of the account's value that stays in cash, in percent.",
    )
    trade_guard = models.CharField(max_length=16, choices=TradeGuard, default=TradeGuard.ONCE_PER_SESSION)
    connection = models.ForeignKey(
        "accounts.BrokerConnection",
        editable=False,
        on_delete=models.PROTECT,
        related_name="accounts",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    history = HistoricalRecords(excluded_fields=["updated_at"])

    class Meta:
        ordering = ("account_id",)
        permissions = (
            ("preview_account", "Can preview a rebalance"),
            ("execute_account", "Can send orders"),
            ("execute_live_account", "Can send live orders"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(cash_reserve_percent__gte=0, cash_reserve_percent__lt=100),
                name="cash_reserve_is_a_percentage",
            ),
        )

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """Its name, else its id."""
        return self.name or self.account_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves it with a connection slot of its broker and type."""
        # Imported here: slots need the models of this package.
        from accounts.connection_slots import assign_slot  # noqa: PLC0415

        assign_slot(self)
        if (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "connection"}
        super().save(*args, **kwargs)
