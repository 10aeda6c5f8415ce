"""Admin of the simulated broker. Faults and the market can be edited; account records are read-only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from brokers.simulated.models import (
    SimulatedAccount,
    SimulatedFault,
    SimulatedInstrument,
    SimulatedMarket,
    SimulatedOrder,
    SimulatedPosition,
)


@admin.register(SimulatedFault)
class SimulatedFaultAdmin(admin.ModelAdmin[SimulatedFault]):
    """Faults that happen next."""

    list_display = ("kind", "account_id", "symbol", "remaining", "number", "message")
    list_filter = ("kind",)


@admin.register(SimulatedMarket)
class SimulatedMarketAdmin(admin.ModelAdmin[SimulatedMarket]):
    """Behavior of the market."""

    list_display = ("__str__", "seed", "frozen_at", "fill_latency_seconds", "always_open")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow one row only."""
        return not SimulatedMarket.objects.exists() and super().has_add_permission(request)


@admin.register(SimulatedInstrument)
class SimulatedInstrumentAdmin(admin.ModelAdmin[SimulatedInstrument]):
    """Instruments that can be traded."""

    list_display = ("symbol", "name", "asset_class", "base_price_usd", "spread_bps")
    list_filter = ("asset_class",)
    search_fields = ("symbol", "name")


class _ReadOnly:
    """Records that only trading changes."""

    extra = 0

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse for every user."""
        return False

    has_add_permission = has_delete_permission = has_change_permission


class PositionInline(_ReadOnly, admin.TabularInline[SimulatedPosition, SimulatedAccount]):
    """The positions of an account."""

    model = SimulatedPosition


@admin.register(SimulatedAccount)
class SimulatedAccountAdmin(_ReadOnly, admin.ModelAdmin[SimulatedAccount]):
    """Accounts with their positions."""

    list_display = ("account_id", "cash_usd", "opened_at")
    search_fields = ("account_id",)
    inlines = (PositionInline,)


@admin.register(SimulatedOrder)
class SimulatedOrderAdmin(_ReadOnly, admin.ModelAdmin[SimulatedOrder]):
    """Orders at the broker."""

    list_display = ("client_order_id", "account", "symbol", "quantity", "filled_quantity", "status", "submitted_at")
    list_filter = ("status",)
    list_select_related = ("account",)
