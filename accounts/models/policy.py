from datetime import time
from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords


def _number(default: str, low: str, high: str, help_text: str, places: int = 4) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(
        max_digits=16,
        decimal_places=places,
        default=Decimal(default),
        validators=[MinValueValidator(Decimal(low)), MaxValueValidator(Decimal(high))],
        help_text=help_text,
    )


def _whole(default: int | None, low: int, high: int, help_text: str) -> "models.PositiveIntegerField[Any, Any]":
    return models.PositiveIntegerField(
        default=default,
        null=default is None,
        blank=default is None,
        validators=[MinValueValidator(low), MaxValueValidator(high)],
        help_text=help_text,
    )


class RebalancePolicy(models.Model):
    """How accounts are rebalanced: reserve, band, limits, deadlines, guards. Frozen on each run."""

    class CommissionKind(models.TextChoices):
        """How a broker charges."""

        RATE = "rate", "A share of the value"
        PER_SHARE = "per_share", "An amount a share"

    class TimeInForce(models.TextChoices):
        """How long an order lives."""

        DAY = "DAY", "Day"
        GTC = "GTC", "Good till cancelled"
        IOC = "IOC", "Immediate or cancel"

    class Unmanaged(models.TextChoices):
        """What is done with a held symbol that is no target."""

        SELL = "sell", "Sell"
        KEEP = "keep", "Keep and count"
        IGNORE = "ignore", "Leave out of the account's value"

    class MissedSchedule(models.TextChoices):
        """What is done about a scheduled run that could not start at its time."""

        RUN_LATE = "run_late", "Start up to 15 minutes late, else wait for the next open"
        SKIP = "skip", "Skip it; a person schedules the account again"
        NEXT_OPEN = "next_open", "Wait for the next open"

    class Shorts(models.TextChoices):
        """What is done about a short position."""

        REFUSE = "refuse", "Refuse to plan"
        KEEP = "keep", "Keep"

    name = models.CharField(max_length=64, unique=True)
    is_default = models.BooleanField(default=False, help_text="For accounts that name no policy.")

    minimum_cash_reserve_usd = _number("100", "0", "100000000", "Cash that is never spent, in USD.", 2)
    max_account_utilization = _number(
        "0.995", "0.01", "1", "Share of the account's value that may be invested; the rest stays in cash."
    )
    commission_kind = models.CharField(max_length=9, choices=CommissionKind, default=CommissionKind.RATE)
    commission_rate = _number("0.01", "0", "0.2", "Commission expected, as a fraction of an order's value.", 6)
    commission_per_share_usd = _number("0.005", "0", "10", "Commission a share, in USD.", 6)
    commission_minimum_usd = _number("1", "0", "100", "Least commission of an order, in USD.")
    commission_max_rate = _number("0.01", "0", "0.2", "Most commission, as a fraction of an order's value.", 6)

    allocation_threshold_percent = _number(
        "0.5", "0", "50", "Drift band: a drift of fewer percentage points is left alone."
    )
    buy_slippage_percent = _number("0.5", "0", "10", "Limit offset of buys: so much above the ask, in percent.")
    sell_slippage_percent = _number("0.5", "0", "10", "Limit offset of sells: so much below the bid, in percent.")
    order_tif = models.CharField("time in force", max_length=3, choices=TimeInForce, default=TimeInForce.DAY)
    order_timeout_seconds = _whole(
        None, 5, 23_400, "Order deadline; then what is left is cancelled. Empty: ORDER_TIMEOUT_SECONDS."
    )
    one_share = models.BooleanField(default=True, help_text="Hold at least one share of each target.")
    one_share_max_overshoot_percent = _number(
        "5", "0", "100", "The one share may exceed its target by so much of the account's value, in percent."
    )
    minimum_improvement_bps = _number(
        "10",
        "0",
        "10000",
        "Trades that improve the account by less (hundredths of a percent) are not made; 0: off.",
    )
    unmanaged = models.CharField(max_length=6, choices=Unmanaged, default=Unmanaged.SELL)
    shorts = models.CharField(max_length=6, choices=Shorts, default=Shorts.REFUSE)

    normalization_trigger_threshold = _number(
        "0.0001",
        "0",
        "1",
        "After replacements: a sum that is off by more is made whole by the other weights.",
        8,
    )
    normalization_failure_threshold = _number(
        "0.01", "0", "1", "After replacements: a sum that is still off by more is refused.", 8
    )
    minimal_non_replaced_allocation_percent = _number(
        "0.1", "0", "100", "Replacements may not push the other weights below this, in percent."
    )

    max_turnover_percent = _number("100", "0", "1000", "Most of the account that one run may trade, in percent.")
    max_targets_age_days = _whole(
        365,
        0,
        3650,
        "A plan on targets that were edited, or by their service's word published, earlier waits for a "
        "person; 0: any age.",
    )
    max_frozen_percent = _number("10", "0", "100", "Most of the account that may lack a good quote, in percent.")
    max_data_mismatch_percent = _number("2", "0", "100", "How far the broker's sums may disagree, in percent.")
    quote_max_age_seconds = _whole(60, 1, 86_400, "Older quotes are not traded on.")
    max_spread_percent = _number("5", "0", "100", "Wider quotes are not traded on, in percent of the price.")
    allow_delayed_quotes = models.BooleanField(default=False, help_text="Trade on delayed quotes.")
    synthetic_ask_enabled = models.BooleanField(
        default=False, help_text="Make an ask for a symbol that has only a bid or last price."
    )
    synthetic_ask_offset_usd = _number("1", "0", "1000", "So much above the bid or last price, in USD.")
    minutes_before_close = _whole(5, 0, 390, "No run starts in the last so many minutes of a session.")
    preview_valid_seconds = _whole(300, 10, 3600, "A preview can be sent for so long.")
    max_price_move_percent = _number("1", "0", "50", "A preview is not sent if a price moved by more, in percent.")

    price_cache_ttl_seconds = _whole(30, 0, 3600, "Previews use quotes of other runs up to this age.")
    market_data_type = _whole(1, 1, 4, "Interactive Brokers: 1 live, 2 frozen, 3 delayed, 4 delayed frozen.")
    connection_timeout_seconds = _number("10", "1", "120", "For connecting to the broker.", 2)
    request_timeout_seconds = _number("10", "1", "120", "For each answer of the broker.", 2)
    allocation_timeout_seconds = _number("30", "1", "300", "For the allocations service, tries included.", 2)
    max_concurrent_accounts = _whole(32, 1, 200, "Accounts that one worker carries out at the same time.")
    next_execution_time = models.TimeField(
        default=time(9, 30),
        help_text="New York time at which a deferred account is taken up, never before the session opens.",
    )
    missed_schedule = models.CharField(
        max_length=9,
        choices=MissedSchedule,
        default=MissedSchedule.RUN_LATE,
        help_text="When nothing could start a scheduled run at its time.",
    )
    schedule_retries = _whole(3, 0, 20, "A scheduled run that failed is tried again at so many of the next opens.")
    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "rebalance policies"
        constraints = (
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="one_default_policy"),
        )

    def __str__(self) -> str:
        return self.name
