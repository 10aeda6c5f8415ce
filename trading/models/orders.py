from decimal import Decimal

from django.db import models
from django.db.models import Q

from calculator.formats import shares

MANUAL_EXECUTION_PREFIX = "by-hand-"
"""First characters of the execution id of a fill that a user entered manually; the client order id follows."""


ABSENT = "Not found at the broker in two lookups. "
"""First characters of the message of an order that is rejected because the broker does not have it, not on its word."""


class OrderState(models.TextChoices):
    """State of an order; docs/architecture.md shows the transitions."""

    PLANNED = "planned", "Planned"
    SUBMITTING = "submitting", "Submitting"
    WORKING = "working", "Working"
    FILLED = "filled", "Filled"
    CANCELLED = "cancelled", "Cancelled"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Expired"
    UNKNOWN = "unknown", "Unknown"
    LOST = "lost", "Lost"

    @classmethod
    def open_states(cls) -> tuple["OrderState", ...]:
        """Return the states in which the order may still be active at the broker."""
        return (cls.SUBMITTING, cls.WORKING, cls.UNKNOWN)


def trade_text(quantity: Decimal, symbol: str) -> str:
    """Return a trade as text, from a signed quantity: `SELL 5 VTI`."""
    return f"{'SELL' if quantity < 0 else 'BUY'} {shares(abs(quantity))} {symbol}"


def is_missing(state: str, message: str) -> bool:
    """Return whether an order is resolved only because the broker did not have it: it can still turn up there."""
    return state == OrderState.LOST or (state == OrderState.REJECTED and message.startswith(ABSENT))


def reduce(quantity: Decimal, shares: Decimal) -> Decimal:
    """Return a signed quantity without this unsigned number of shares, but not beyond zero."""
    left = max(abs(quantity) - shares, Decimal(0))
    return -left if quantity < 0 else left


class Order(models.Model):
    """An order that was or will be sent to the broker. Its row is committed before it is sent."""

    run = models.ForeignKey("trading.RebalanceRun", on_delete=models.PROTECT, related_name="orders")
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="orders")
    sequence = models.PositiveIntegerField()
    client_order_id = models.CharField(max_length=40, unique=True)
    broker_order_id = models.CharField(max_length=64, blank=True)
    permanent_id = models.CharField(max_length=64, blank=True)
    symbol = models.CharField(max_length=15)
    quantity = models.DecimalField(max_digits=20, decimal_places=8, help_text="Shares; negative for a sell.")
    order_type = models.CharField(max_length=8)
    limit_price_usd = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    decision_price_usd = models.DecimalField(
        max_digits=20, decimal_places=8, null=True, blank=True, help_text="Bid or ask at the time of the plan."
    )
    time_in_force = models.CharField(max_length=4)
    reason = models.CharField(max_length=48, blank=True)
    state = models.CharField(max_length=10, choices=OrderState, default=OrderState.PLANNED)
    filled_quantity = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    average_price_usd = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    commission_usd = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    position_before = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    created_at = models.DateTimeField(auto_now_add=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    message = models.TextField(blank=True, help_text="The broker's latest message.")

    class Meta:
        ordering = ("run", "sequence")
        indexes = (
            models.Index(
                fields=("account",),
                name="unsettled_orders",
                condition=Q(state__in=("submitting", "working", "unknown")),
            ),
        )
        constraints = (models.UniqueConstraint(fields=("run", "sequence"), name="order_sequence_once_per_run"),)

    def __str__(self) -> str:
        return trade_text(self.quantity, self.symbol)

    @property
    def is_missing(self) -> bool:
        """Whether the order is resolved only because the broker did not have it."""
        return is_missing(self.state, self.message)

    @property
    def shares(self) -> Decimal:
        """Unsigned number of shares."""
        return abs(self.quantity)

    @property
    def filled_shares(self) -> Decimal:
        """Unsigned number of filled shares."""
        return abs(self.filled_quantity)

    @property
    def booked_shares(self) -> Decimal:
        """Unsigned number of shares with a recorded execution; the broker may have reported more as filled."""
        return sum((abs(fill.quantity) for fill in self.fills.all()), Decimal(0))

    @property
    def is_sell(self) -> bool:
        """Whether the order is a sell."""
        return self.quantity < 0

    @property
    def is_open(self) -> bool:
        """Whether the order may still be active at the broker."""
        return self.state in OrderState.open_states()


class Fill(models.Model):
    """One execution of an order, as the broker reported it or a user entered it."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    execution_id = models.CharField(max_length=80)
    quantity = models.DecimalField(max_digits=20, decimal_places=8)
    price_usd = models.DecimalField(max_digits=20, decimal_places=8)
    commission_usd = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    executed_at = models.DateTimeField()

    class Meta:
        ordering = ("executed_at", "id")
        constraints = (models.UniqueConstraint(fields=("order", "execution_id"), name="fill_once_per_execution"),)

    def __str__(self) -> str:
        return f"{self.quantity:f} at {self.price_usd:f}"

    @property
    def is_manual(self) -> bool:
        """Whether a user entered the fill. Executions that the broker reports later replace it."""
        return self.execution_id.startswith(MANUAL_EXECUTION_PREFIX)
