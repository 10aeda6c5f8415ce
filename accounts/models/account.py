from decimal import Decimal
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from accounts.models.plan_input import PlanInput, PlanInputQuerySet
from accounts.models.strategy import Strategy
from accounts.refusal_text import quoted
from accounts.validators import ACCOUNT_ID
from brokers.registry import broker_names

FOLLOWED_STRATEGY = "strategy"
"""Lookup from an account to the strategy that it follows, for `select_related` and filters."""


def validate_broker(name: str) -> None:
    """Reject a broker without a registered connector."""
    if name not in broker_names():
        raise ValidationError(f"Unknown broker {quoted(name)}. Known brokers: {', '.join(broker_names())}.")


class AccountQuerySet(PlanInputQuerySet["Account"]):
    """Queries for accounts by the targets that they follow."""

    def following(self, strategy_name: str) -> Self:
        """Return the accounts that follow the strategy."""
        return self.filter(strategy__name=strategy_name)

    def with_followed_strategy(self) -> Self:
        """Load the followed strategies in the same query."""
        return self.select_related(FOLLOWED_STRATEGY)


class Account(PlanInput):
    """A brokerage account that is rebalanced to the targets of its strategy.

    Runs, guards, schedules and pages read `followed_strategy`, or use `following`, `with_followed_strategy` and
    `FOLLOWED_STRATEGY`. Only code that starts from a strategy uses its `accounts`.
    """

    class Type(models.TextChoices):
        PAPER = "paper", "Paper"
        LIVE = "live", "Live"

    class TradeGuard(models.TextChoices):
        """Rule that limits how often an account trades."""

        ONCE_PER_SESSION = "once_per_session", "Once per session"
        PDT_LEGACY = "pdt_legacy", "Pattern day trader rule"
        CASH_SETTLEMENT = "cash_settlement", "Settled cash"
        NONE = "none", "None"

    account_id = models.CharField(
        "account ID", max_length=32, unique=True, validators=[ACCOUNT_ID], help_text="Account number at the broker."
    )
    name = models.CharField(max_length=80, blank=True, help_text="Shown instead of the account ID.")
    broker = models.CharField(max_length=40, default="ibkr", validators=[validate_broker])
    type = models.CharField(max_length=5, choices=Type, default=Type.PAPER)
    enabled = models.BooleanField(default=True, help_text="A disabled account starts no runs.")
    live_armed = models.BooleanField(
        "armed for live trading", default=False, help_text="Live orders also require ALLOW_LIVE_TRADING."
    )
    trading_paused = models.BooleanField(
        default=False, help_text="Kill switch of this account: no further orders are submitted."
    )
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
        help_text="Empty: default policy.",
    )
    cash_reserve_percent = models.DecimalField(
        "cash reserve (%)",
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal("99.99"))],
        help_text="Share of the account value that stays in cash.",
    )
    trade_guard = models.CharField(max_length=16, choices=TradeGuard, default=TradeGuard.ONCE_PER_SESSION)
    connection = models.ForeignKey(
        "accounts.BrokerConnection", editable=False, on_delete=models.PROTECT, related_name="accounts"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    objects: ClassVar = AccountQuerySet.as_manager()
    history = HistoricalRecords(excluded_fields=["updated_at"])

    class Meta:
        ordering = ("account_id",)
        permissions = (
            ("preview_account", "Can preview a rebalance"),
            ("execute_account", "Can submit orders"),
            ("execute_live_account", "Can submit live orders"),
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
        """Return the name; without a name, the account ID."""
        return self.name or self.account_id

    @property
    def followed_strategy(self) -> Strategy | None:
        """Return the strategy whose targets the account follows; None without targets."""
        return self.strategy

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the account with a connection slot of its broker and type."""
        # Imported here, because slots import the models of this package.
        from accounts.connection_slots import assign_slot  # noqa: PLC0415

        assign_slot(self)
        if (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "connection"}
        super().save(*args, **kwargs)
