"""Account records of the simulated broker, shared by all processes."""

import uuid
from decimal import Decimal

from django.db import models
from django.db.models import Q


def _money(**options: object) -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=20, decimal_places=6, **options)  # type: ignore[arg-type]


class SimulatedMarket(models.Model):
    """Behavior of the market: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    seed = models.PositiveIntegerField(default=1, help_text="A different seed produces different prices.")
    frozen_at = models.DateTimeField(null=True, blank=True, help_text="If set, prices stay as they were at this time.")
    fill_latency_seconds = models.FloatField(
        default=0.4, help_text="Time between the submission and the fill of an order."
    )
    quote_latency_seconds = models.FloatField(default=0.25, help_text="Time between a quote request and its response.")
    always_open = models.BooleanField(
        default=True,
        help_text="If off, orders fill only in New York exchange sessions, and day orders expire at the close.",
    )
    commission_per_share_usd = _money(default=Decimal("0.005"))
    commission_minimum_usd = _money(default=Decimal(1))
    commission_max_rate = _money(default=Decimal("0.01"))

    class Meta:
        verbose_name_plural = "simulated market"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_simulated_market"),)

    def __str__(self) -> str:
        return "Simulated market"


class SimulatedInstrument(models.Model):
    """A US stock or ETF that can be traded."""

    symbol = models.CharField(max_length=15, unique=True)
    name = models.CharField(max_length=80)
    asset_class = models.CharField(max_length=40)
    base_price_usd = _money()
    spread_bps = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal(2))
    volatility_percent = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        default=Decimal(2),
        help_text="Maximum distance from the base price, in percent.",
    )

    class Meta:
        ordering = ("symbol",)

    def __str__(self) -> str:
        return self.symbol


class SimulatedAccount(models.Model):
    """An account and its cash."""

    account_id = models.CharField(max_length=32, unique=True)
    cash_usd = _money()
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("account_id",)

    def __str__(self) -> str:
        return self.account_id


class SimulatedPosition(models.Model):
    """A position of an account. Values of `kind` and `currency` other than a US stock are for tests."""

    account = models.ForeignKey(SimulatedAccount, on_delete=models.CASCADE, related_name="positions")
    symbol = models.CharField(max_length=15)
    contract_id = models.CharField(max_length=40)
    kind = models.CharField(max_length=10, default="stock")
    currency = models.CharField(max_length=3, default="USD")
    quantity = models.DecimalField(max_digits=20, decimal_places=8)
    average_cost_usd = _money(default=Decimal(0))
    own_mark_usd = _money(null=True, blank=True)

    class Meta:
        ordering = ("symbol",)
        constraints = (models.UniqueConstraint(fields=("account", "contract_id"), name="position_once_per_contract"),)

    def __str__(self) -> str:
        return f"{self.symbol} {self.quantity.normalize():f}"


def _order_id() -> str:
    return str(uuid.uuid4())


class SimulatedOrder(models.Model):
    """An order. As at most brokers, a client order id is not unique: clients prevent duplicates."""

    account = models.ForeignKey(SimulatedAccount, on_delete=models.CASCADE, related_name="orders")
    order_id = models.CharField(max_length=36, unique=True, default=_order_id)
    client_order_id = models.CharField(max_length=64, db_index=True)
    symbol = models.CharField(max_length=15)
    quantity = models.DecimalField(max_digits=20, decimal_places=8)
    filled_quantity = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    filled_value_usd = _money(default=Decimal(0))
    order_type = models.CharField(max_length=8)
    limit_price_usd = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    time_in_force = models.CharField(max_length=4)
    status = models.CharField(max_length=10)
    submitted_at = models.DateTimeField()
    next_fill_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    fill_at_most = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.symbol} {self.quantity.normalize():f} {self.status}"


class SimulatedExecution(models.Model):
    """One fill."""

    order = models.ForeignKey(SimulatedOrder, on_delete=models.CASCADE, related_name="executions")
    execution_id = models.CharField(max_length=60, unique=True)
    quantity = models.DecimalField(max_digits=20, decimal_places=8)
    price_usd = _money()
    commission_usd = _money()
    executed_at = models.DateTimeField()

    class Meta:
        ordering = ("executed_at", "id")

    def __str__(self) -> str:
        return self.execution_id


class SimulatedLink(models.Model):
    """The current connection of a client id. A newer connection replaces an older one."""

    client_id = models.PositiveIntegerField(unique=True)
    token = models.CharField(max_length=36)

    def __str__(self) -> str:
        return f"client {self.client_id}"


class SimulatedFault(models.Model):
    """A scripted fault, set by tests and demonstrations."""

    class Kind(models.TextChoices):
        """Kind of fault."""

        REJECT = "reject", "The broker rejects the order"
        PARTIAL = "partial", "The order is filled partially"
        SLOW = "slow", "The fill is delayed"
        NO_FILL = "no_fill", "The order is never filled"
        SILENT = "silent", "The order is accepted but not acknowledged"
        LOST = "lost", "The order is lost before the broker receives it"
        DISCONNECT_BEFORE = "disconnect_before", "The connection is lost before the order is accepted"
        DISCONNECT_AFTER = "disconnect_after", "The connection is lost after the order is accepted"
        CANCEL_IGNORED = "cancel_ignored", "A cancel has no effect"
        NAN_QUOTE = "nan_quote", "The quote has no bid and ask"
        CROSSED_QUOTE = "crossed_quote", "Bid and ask are crossed"
        MISSING_QUOTE = "missing_quote", "There is no quote"
        STALE_QUOTE = "stale_quote", "The quote is an hour old"
        HALTED = "halted", "Trading in the symbol is halted"
        CONNECT_REFUSED = "connect_refused", "The broker cannot be reached"
        MUTE = "mute", "The broker does not respond to snapshot requests"
        INCOMPLETE = "incomplete", "The account's value is missing"
        DUPLICATE_UPDATE = "duplicate_update", "Order updates are duplicated"
        SUPPRESSED_UPDATE = "suppressed_update", "Order updates are missing"
        UNREADABLE = "unreadable", "Lookups of orders and executions fail"

    kind = models.CharField(max_length=20, choices=Kind)
    account_id = models.CharField(max_length=32, blank=True, help_text="Limits the fault to this account.")
    symbol = models.CharField(max_length=15, blank=True, help_text="Limits the fault to this symbol.")
    remaining = models.PositiveIntegerField(default=1, help_text="Number of times the fault still happens.")
    number = models.FloatField(default=0, help_text="Seconds for slow; the filled share (0 to 1) for partial.")
    message = models.CharField(max_length=200, blank=True, help_text="Message of the broker.")

    def __str__(self) -> str:
        return f"{self.kind} {self.symbol or 'any symbol'} x{self.remaining}"
