from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_q.models import Failure, OrmQ, Schedule, Success
from simple_history.admin import SimpleHistoryAdmin

from accounts.admin import INLINE_TEMPLATE
from accounts.models import Account
from trading.admin.read_only import ReadOnlyMixin
from trading.journal.outcomes import outcome_label
from trading.journal.runs import request_cancel
from trading.models import (
    ChannelPosition,
    ExecutedSession,
    Fill,
    Order,
    ProcessHeartbeat,
    RebalanceRun,
    ScheduledJob,
    ScheduleEntry,
    SeenExecution,
    StrategyEvent,
    TradingControl,
    UnrecordedOrder,
    without_documents,
)
from trading.pages.event_list import with_first_runs

# Imported for their registrations.
from trading.admin import access, contracts, users, webhooks  # isort: skip  # noqa: F401

# A user who may add a schedule there can run any code, and "resubmit" checks no permission.
for queue_model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(queue_model)


# `Authenticator` has replaced them.
for device_model in (TOTPDevice, StaticDevice):
    admin.site.unregister(device_model)


class _WithoutDocuments:
    """Do not load the JSON documents of runs in a list; `run` is the lookup from a row to its run."""

    run = ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("_changelist")
        return without_documents(rows, self.run) if is_list else rows


class FillInline(ReadOnlyMixin, admin.TabularInline[Fill, Order]):
    """Fills of an order, read-only."""

    model = Fill
    template = INLINE_TEMPLATE


@admin.register(Order)
class OrderAdmin(ReadOnlyMixin, admin.ModelAdmin[Order]):
    """Orders."""

    list_display = ("client_order_id", "account", "symbol", "quantity", "filled_quantity", "state", "submitted_at")
    list_filter = ("state",)
    search_fields = ("client_order_id", "broker_order_id", "symbol", "account__account_id")
    list_select_related = ("account",)
    ordering = ("-id",)
    inlines = (FillInline,)


class OrderInline(ReadOnlyMixin, admin.TabularInline[Order, RebalanceRun]):
    """Orders of a run."""

    model = Order
    template = INLINE_TEMPLATE
    fields = ("symbol", "quantity", "limit_price_usd", "state", "filled_quantity", "average_price_usd", "message")


@admin.register(RebalanceRun)
class RebalanceRunAdmin(_WithoutDocuments, ReadOnlyMixin, admin.ModelAdmin[RebalanceRun]):
    """Runs."""

    list_display = ("page", "account", "mode", "ended_as", "strategy_name", "queued_at", "finished_at", "error_code")
    list_filter = ("outcome", "state", "mode", "queued_at")
    list_display_links = ("account",)  # the first column is a link of its own
    search_fields = ("run_id", "strategy_name", "error_code")
    list_select_related = ("account",)
    inlines = (OrderInline,)

    @admin.display(description="outcome", ordering="outcome")
    def ended_as(self, run: RebalanceRun) -> str:
        """Return the outcome; the state while there is none."""
        return outcome_label(run)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RebalanceRun], search_term: str
    ) -> tuple[QuerySet[RebalanceRun], bool]:
        """Search by index, and by substring in accounts only: scanning a hundred thousand runs takes seconds."""
        for word in search_term.split():
            accounts = Account.objects.filter(Q(account_id__icontains=word) | Q(name__icontains=word))
            if queryset.filter(run_id=word).exists():
                queryset = queryset.filter(run_id=word)
            elif found := list(accounts.values_list("pk", flat=True)):
                queryset = queryset.filter(account__in=found)
            else:
                queryset = queryset.filter(Q(strategy_name=word) | Q(error_code=word))
        return queryset, False

    @admin.display(description="Run", ordering="id")
    def page(self, run: RebalanceRun) -> str:
        """Return a link to the run page."""
        return format_html('<a href="{}">{}</a>', reverse("trading:run", args=[run.run_id]), run.run_id)


@admin.register(StrategyEvent)
class StrategyEventAdmin(ReadOnlyMixin, admin.ModelAdmin[StrategyEvent]):
    """Received events."""

    list_display = (
        "id",
        "received_at",
        "source",
        "channel",
        "account_id",
        "exec",
        "state",
        "reason",
        "duplicates",
        "outcome",
    )
    list_per_page = 50
    list_filter = ("state", "reason_code", "runs__state", "source", "channel")
    search_fields = ("channel", "message_id", "account_id", "reason")
    date_hierarchy = "received_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[StrategyEvent]:
        """Return the events with the runs that the list shows."""
        return with_first_runs(super().get_queryset(request))

    @admin.display(description="Runs")
    def outcome(self, event: Any) -> str:
        """Return the state of the run of each account."""
        states = [f"{run.account.account_id} {run.get_state_display().lower()}" for run in event.first_runs]
        return ", ".join(states + ([f"and {event.runs_left_out} more"] if event.runs_left_out else []))


@admin.register(ExecutedSession)
class ExecutedSessionAdmin(_WithoutDocuments, ReadOnlyMixin, admin.ModelAdmin[ExecutedSession]):
    """Sessions with an executed rebalance, for the trade guard."""

    list_display = ("account", "session_date", "run", "first_order_at")
    search_fields = ("account__account_id", "account__name", "run__run_id")
    ordering = ("-id",)
    list_select_related = ("account", "run")
    run = "run__"


@admin.register(SeenExecution)
class SeenExecutionAdmin(ReadOnlyMixin, admin.ModelAdmin[SeenExecution]):
    """Executions that the trade guard counts, manual trades included."""

    list_display = ("account", "session_date", "executed_at", "symbol", "quantity", "price_usd", "client_order_id")
    search_fields = ("symbol", "execution_id", "account__account_id", "account__name")
    ordering = ("-id",)
    list_select_related = ("account",)


@admin.register(UnrecordedOrder)
class UnrecordedOrderAdmin(ReadOnlyMixin, admin.ModelAdmin[UnrecordedOrder]):
    """Orders at the broker without a row. `reconcile` records them, `resolve` acknowledges them."""

    list_display = ("client_order_id", "account", "symbol", "quantity", "found_at", "resolved_at", "resolution")
    search_fields = ("client_order_id", "account__account_id", "account__name")
    ordering = ("-id",)
    list_select_related = ("account",)


@admin.register(ScheduleEntry)
class ScheduleEntryAdmin(_WithoutDocuments, ReadOnlyMixin, admin.ModelAdmin[ScheduleEntry]):
    """Scheduled rebalances and their outcomes."""

    list_display = ("account", "session_date", "due_at", "origin", "state", "attempt", "run", "message")
    list_filter = ("state", "origin")
    search_fields = ("account__account_id", "account__name")
    list_select_related = ("account", "run")
    run = "run__"
    ordering = ("-due_at", "account")


@admin.register(ScheduledJob)
class ScheduledJobAdmin(ReadOnlyMixin, admin.ModelAdmin[ScheduledJob]):
    """Jobs that run once per session."""

    list_display = ("key", "due_at", "finished_at", "succeeded", "outcome")
    list_filter = ("kind", "succeeded")


@admin.register(ProcessHeartbeat)
class ProcessHeartbeatAdmin(ReadOnlyMixin, admin.ModelAdmin[ProcessHeartbeat]):
    """Heartbeats of processes."""

    list_display = ("name", "kind", "at")


@admin.register(ChannelPosition)
class ChannelPositionAdmin(ReadOnlyMixin, admin.ModelAdmin[ChannelPosition]):
    """Offset of each channel up to which all messages are stored."""

    list_display = ("channel", "caught_up_to", "known_from", "history_reach_seconds")


class TradingControlForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form of the global kill switch."""

    cancel_orders = forms.BooleanField(
        label="Cancel working orders",
        required=False,
        help_text="While trading is paused: runs in progress also cancel the orders that are still open.",
    )


@admin.register(TradingControl)
class TradingControlAdmin(SimpleHistoryAdmin):
    """The global kill switch."""

    form = TradingControlForm
    list_display = ("__str__", "reason", "updated_at")
    fields = ("trading_paused", "reason", "cancel_orders")

    def save_model(self, request: HttpRequest, obj: TradingControl, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the kill switch and, if requested, let the runs in progress cancel their working orders."""
        super().save_model(request, obj, form, change)
        if obj.trading_paused and form.cleaned_data["cancel_orders"]:
            transaction.on_commit(partial(request_cancel, None, str(request.user)))
            messages.info(request, "Runs in progress cancel their working orders.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow one row."""
        return not TradingControl.objects.exists() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse deletion."""
        return False
