from datetime import time
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from accounts.models.plan_input import PlanInput
from accounts.usual_commission import default_commission


def _number(
    label: str,
    default: "int | str | partial[Any]",
    low: int | str,
    high: int | str,
    help_text: str,
    places: int = 4,
    **options: Any,
) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(
        label,
        max_digits=16,
        decimal_places=places,
        default=default if isinstance(default, partial) else Decimal(default),
        validators=[MinValueValidator(Decimal(low)), MaxValueValidator(Decimal(high))],
        help_text=help_text,
        **options,
    )


def _whole(
    label: str, default: int | None, low: int, high: int, help_text: str
) -> "models.PositiveIntegerField[Any, Any]":
    optional = default is None
    validators = [MinValueValidator(low), MaxValueValidator(high)]
    return models.PositiveIntegerField(
        label, default=default, null=optional, blank=optional, validators=validators, help_text=help_text
    )


def _choice(label: str, default: models.TextChoices, help_text: str) -> "models.CharField[Any, Any]":
    choices = type(default)
    length = max(map(len, choices.values))
    return models.CharField(label, max_length=length, choices=choices, default=default, help_text=help_text)


def _usual(part: str) -> "partial[Any]":
    """Return the default of a field: this part of the commission that the broker usually charges."""
    return partial(default_commission, part)


class RebalancePolicy(PlanInput):
    """How accounts are rebalanced: cash, drift band, limit prices, timeouts, guards. Each run stores a copy."""

    class CommissionKind(models.TextChoices):
        RATE = "rate", "Fraction of the order value"
        PER_SHARE = "per_share", "Amount per share"

    class TimeInForce(models.TextChoices):
        DAY = "DAY", "Day"
        GTC = "GTC", "Good till cancelled"
        IOC = "IOC", "Immediate or cancel"

    class Unmanaged(models.TextChoices):
        SELL = "sell", "Sell"
        KEEP = "keep", "Keep; counts toward the account value"
        IGNORE = "ignore", "Keep; excluded from the account value"

    class MissedSchedule(models.TextChoices):
        RUN_LATE = "run_late", "Start up to 15 minutes late, otherwise at the next open"
        SKIP = "skip", "Skip; a user must schedule the account again"
        NEXT_OPEN = "next_open", "Start at the next open"

    class Shorts(models.TextChoices):
        REFUSE = "refuse", "Refuse the run"
        KEEP = "keep", "Keep"

    name = models.CharField(max_length=64, unique=True)
    is_default = models.BooleanField("default policy", default=False, help_text="Used by accounts without a policy.")

    minimum_cash_reserve_usd = _number(
        "minimum cash reserve (USD)", 100, 0, 100_000_000, "Cash that is never invested.", 2
    )
    max_account_utilization = _number(
        "maximum invested share", "0.995", "0.01", 1, "Fraction of the account value. The rest stays in cash."
    )

    commission_kind = models.CharField(
        "commission type",
        max_length=9,
        choices=CommissionKind,
        default=_usual("kind"),
        help_text="How the broker charges commission.",
    )
    commission_rate = _number(
        "commission rate (fraction)",
        _usual("rate"),
        0,
        "0.2",
        "Expected commission as a fraction of the order value.",
        6,
    )
    commission_per_share_usd = _number(
        "commission per share (USD)", _usual("per_share"), 0, 10, "For commission per share.", 6
    )
    commission_minimum_usd = _number(
        "minimum commission (USD)", _usual("min_per_order"), 0, 100, "Minimum per order, for commission per share."
    )
    commission_max_rate = _number(
        "maximum commission (fraction)", _usual("max_rate"), 0, "0.2", "Maximum per order, for commission per share.", 6
    )

    allocation_threshold_percent = _number(
        "drift band (pp)", "0.5", 0, 50, "A symbol whose drift is smaller, in percentage points, is not traded."
    )
    minimum_improvement_bps = _number(
        "minimum improvement (bps)",
        10,
        0,
        10_000,
        "Trades that improve the account by less, in hundredths of a percent, are not made. 0 disables the check.",
    )
    one_share = models.BooleanField(
        "minimum one share", default=True, help_text="Hold at least one share of each target."
    )
    one_share_max_overshoot_percent = _number(
        "maximum overshoot of one share (%)", 5, 0, 100, "Above its target, in percent of the account value."
    )
    one_share_min_weight_percent = _number(
        "minimum weight for one share (%)",
        "0.05",
        0,
        100,
        "Smaller targets get their one share only if they are worth half a share.",
        db_default=Decimal("0.05"),
    )
    unmanaged = _choice(
        "positions without target", Unmanaged.SELL, "What to do with a position whose symbol is not a target."
    )
    shorts = _choice("short positions", Shorts.REFUSE, "What to do if the account has a short position.")

    buy_slippage_percent = _number("buy limit offset (%)", "0.5", 0, 10, "Added to the ask.")
    sell_slippage_percent = _number("sell limit offset (%)", "0.5", 0, 10, "Subtracted from the bid.")
    order_tif = _choice("time in force", TimeInForce.DAY, "How long the broker keeps an order open.")
    order_timeout_seconds = _whole(
        "order timeout (s)",
        None,
        5,
        23_400,
        "The unfilled rest is then cancelled. Empty: ORDER_TIMEOUT_SECONDS, the maximum.",
    )

    normalization_trigger_threshold = _number(
        "normalization threshold (fraction)",
        "0.0001",
        0,
        1,
        "The other weights are scaled if the sum is off by more.",
        8,
    )
    normalization_failure_threshold = _number(
        "failure threshold (fraction)", "0.01", 0, 1, "If the sum is still off by more, the run is refused.", 8
    )
    minimal_non_replaced_allocation_percent = _number(
        "minimum of other weights (%)", "0.1", 0, 100, "What replacements must leave for the other weights."
    )

    max_turnover_percent = _number(
        "maximum turnover (%)", 100, 0, 1000, "Maximum value that one run can trade, in percent of the account."
    )
    max_targets_age_days = _whole(
        "maximum age of targets (days)",
        365,
        0,
        3650,
        "Plans on targets edited or published earlier are held for approval. 0 disables the check.",
    )
    max_frozen_percent = _number(
        "maximum untradable share (%)", 10, 0, 100, "Maximum share of the account without a valid quote."
    )
    max_data_mismatch_percent = _number(
        "maximum data mismatch (%)", 2, 0, 100, "Between the account value and the sum of cash and positions."
    )
    quote_max_age_seconds = _whole("maximum age of quotes (s)", 60, 1, 86_400, "Older quotes are not traded on.")
    max_spread_percent = _number(
        "maximum spread (%)", 5, 0, 100, "Quotes with a wider spread, in percent of the price, are not traded on."
    )
    allow_delayed_quotes = models.BooleanField(default=False, help_text="Trade on delayed quotes.")
    synthetic_ask_enabled = models.BooleanField(
        "use synthetic asks", default=False, help_text="Derive an ask for a symbol that has only a bid or last price."
    )
    synthetic_ask_offset_usd = _number("synthetic ask offset (USD)", 1, 0, 1000, "Added to the bid or last price.")
    minutes_before_close = _whole(
        "minutes before close without new runs", 5, 0, 390, "No run starts in the last minutes of a session."
    )
    preview_valid_seconds = _whole(
        "preview validity (s)", 300, 10, 3600, "Time in which the plan of a preview can be executed."
    )
    max_price_move_percent = _number(
        "maximum price move (%)", 1, 0, 50, "A preview is not executed if a price moved by more."
    )

    next_execution_time = models.TimeField(
        "start time of deferred runs",
        default=time(9, 30),
        help_text="New York time at which a deferred run starts; never before the session opens.",
    )
    missed_schedule = _choice(
        "missed schedule", MissedSchedule.RUN_LATE, "What to do if a scheduled run could not start on time."
    )
    schedule_retries = _whole(
        "schedule retries", 3, 0, 20, "Number of following opens at which a failed scheduled run is retried."
    )

    price_cache_ttl_seconds = _whole(
        "maximum age of cached quotes (s)", 30, 0, 3600, "Previews use quotes of other runs up to this age."
    )
    market_data_type = _whole(
        "market data type", 1, 1, 4, "Interactive Brokers: 1 live, 2 frozen, 3 delayed, 4 delayed frozen."
    )
    connection_timeout_seconds = _number(
        "broker connection timeout (s)", 10, 1, 120, "Maximum wait for a connection to the broker.", 2
    )
    request_timeout_seconds = _number(
        "broker request timeout (s)", 10, 1, 120, "Maximum wait for each response of the broker.", 2
    )
    allocation_timeout_seconds = _number(
        "allocations service timeout (s)", 30, 1, 300, "Maximum wait, including retries.", 2
    )
    max_concurrent_accounts = _whole(
        "maximum concurrent accounts", 32, 1, 200, "Accounts that one worker rebalances at the same time."
    )
    history = HistoricalRecords()

    GROUPS = {
        "minimum_cash_reserve_usd": ("Cash", "The cash floor is the largest of these and the account's own reserve."),
        "commission_kind": ("Commission", "Expected commission, for which plans leave cash."),
        "allocation_threshold_percent": ("Sizing", "Which symbols are traded, and how many shares."),
        "buy_slippage_percent": ("Orders", "Limit prices and duration of orders."),
        "normalization_trigger_threshold": ("Replacements", "How the weights are adjusted after replacements."),
        "max_turnover_percent": ("Guards", "Conditions that must hold before a run submits orders."),
        "next_execution_time": ("Schedule", "Deferred and scheduled runs."),
        "price_cache_ttl_seconds": ("Connections", "Market data, timeouts and concurrency."),
    }
    """Title and description of each group of fields in the admin, by the first field of the group."""

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "rebalance policies"
        constraints = (
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="one_default_policy"),
        )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def grouped_fields(cls) -> list[tuple[str, str, list[str]]]:
        """Return the title, the description and the field names of each group."""
        groups: list[tuple[str, str, list[str]]] = []
        for field in cls._meta.concrete_fields:
            if field.name in cls.GROUPS:
                groups.append((*cls.GROUPS[field.name], []))
            if groups:
                groups[-1][2].append(field.name)
        return groups
