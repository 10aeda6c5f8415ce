"""Accounts, strategies, replacement sets and policies in the admin."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest
from simple_history.admin import SimpleHistoryAdmin

from accounts.models import (
    Account,
    BrokerConnection,
    RebalancePolicy,
    ReplacementRule,
    ReplacementSet,
    Strategy,
    TargetAllocation,
)
from accounts.replacements import find_cycle
from accounts.simulated_accounts import ensure_simulated_account
from brokers.registry import broker_choices


def _label_inputs(form: forms.BaseForm) -> None:
    """Tabular inlines have column heads and no labels; screen readers need a name for each field."""
    for name, field in form.fields.items():
        field.widget.attrs.setdefault("aria-label", str(field.label or name))


class _LabelledForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label_inputs(self)


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """An account; the broker is one of those that are registered."""

    broker = forms.ChoiceField(choices=broker_choices, initial="simulated")

    class Meta:
        model = Account
        fields = (
            "account_id",
            "name",
            "broker",
            "type",
            "strategy",
            "replacement_set",
            "policy",
            "cash_reserve_percent",
            "trade_guard",
            "enabled",
            "trading_paused",
            "live_armed",
        )

    def clean(self) -> dict[str, Any]:
        """Refuses an armed account that has nothing to be armed for."""
        cleaned = super().clean() or {}
        if cleaned.get("live_armed") and cleaned.get("type") != Account.Type.LIVE:
            raise ValidationError({"live_armed": "Only a live account can be armed."})
        return cleaned


@admin.register(Account)
class AccountAdmin(SimpleHistoryAdmin):
    """Accounts."""

    form = AccountForm
    list_display = (
        "account_id",
        "name",
        "type",
        "broker",
        "strategy",
        "enabled",
        "trading_paused",
        "live_armed",
    )
    list_filter = ("type", "broker", "enabled", "trading_paused", "strategy")
    search_fields = ("account_id", "name", "strategy__name")
    list_select_related = ("strategy",)
    autocomplete_fields = ("strategy", "replacement_set", "policy")
    readonly_fields = ("connection",)
    actions = ("pause_trading", "resume_trading")
    fieldsets = (
        (None, {"fields": ("account_id", "name", "broker", "type", "connection")}),
        ("Targets", {"fields": ("strategy", "replacement_set", "cash_reserve_percent", "policy")}),
        ("Safety", {"fields": ("enabled", "trading_paused", "trade_guard", "live_armed")}),
    )

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:  # noqa: FBT001
        """Saves it; a simulated account gets books."""
        super().save_model(request, obj, form, change)
        if ensure_simulated_account(obj):
            messages.info(request, f"The simulated broker has opened the books of {obj.account_id}.")

    @admin.action(description="Pause trading", permissions=["change"])
    def pause_trading(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """The kill switch of the chosen accounts."""
        self._set_paused(request, queryset, paused=True)

    @admin.action(description="Resume trading", permissions=["change"])
    def resume_trading(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Lets the chosen accounts trade again."""
        self._set_paused(request, queryset, paused=False)

    def _set_paused(self, request: HttpRequest, queryset: QuerySet[Account], *, paused: bool) -> None:
        changed = list(queryset.filter(trading_paused=not paused))
        for account in changed:  # one by one, so that the history has each
            account.trading_paused = paused
            account.save(update_fields=["trading_paused", "updated_at"])
        messages.success(request, f"{len(changed)} accounts {'paused' if paused else 'resumed'}.")


class _LabelledFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    def add_fields(self, form: "forms.ModelForm[Any]", index: int | None) -> None:
        super().add_fields(form, index)
        _label_inputs(form)  # the box that deletes the row comes after the form's own fields


class TargetFormSet(_LabelledFormSet):
    """The targets of a static strategy; together they are no more than the whole."""

    def clean(self) -> None:
        """Says by how much the sum is off."""
        super().clean()
        if any(self.errors):
            return
        rows = [form.cleaned_data for form in self.forms if form.cleaned_data and not form.cleaned_data.get("DELETE")]
        total = sum((row["weight"] for row in rows), Decimal(0))
        if total > 1:
            raise ValidationError(f"The weights add up to {total.normalize():f}, which is {total - 1:f} too much.")
        if self.instance.source == Strategy.Source.STATIC and not total:
            raise ValidationError("A static strategy needs at least one target with a weight.")


class TargetInline(admin.TabularInline[TargetAllocation, Strategy]):
    """Targets of a strategy."""

    model = TargetAllocation
    form = _LabelledForm
    formset = TargetFormSet
    extra = 1


@admin.register(Strategy)
class StrategyAdmin(SimpleHistoryAdmin):
    """Strategies."""

    list_display = ("name", "title", "source", "enabled", "weights", "followers", "cadence", "drift_check")
    list_filter = ("source", "enabled", "cadence", "drift_check")
    search_fields = ("name", "title")
    fieldsets = (
        (None, {"fields": ("name", "title", "source", "enabled")}),
        ("Events", {"fields": ("late_event_policy", "late_after_seconds")}),
        ("By the calendar", {"fields": ("cadence", "drift_check", "drift_check_minutes")}),
        ("Approval", {"fields": ("auto_approve_turnover_percent",)}),
        ("Notes", {"fields": ("notes",)}),
    )
    inlines = (TargetInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Strategy]:
        """With the sums that the list shows."""
        strategies: QuerySet[Strategy] = super().get_queryset(request)
        # Subqueries: two joins in one query would multiply each other's rows.
        weights = TargetAllocation.objects.filter(strategy=OuterRef("pk")).values("strategy")
        return strategies.annotate(
            weight_sum=Subquery(weights.annotate(sum=Sum("weight")).values("sum")),
            follower_count=Count("accounts", distinct=True),
        )

    @admin.display(description="Weights add up to")
    def weights(self, strategy: Any) -> str:
        """The sum of a static strategy's weights."""
        if strategy.source != Strategy.Source.STATIC:
            return "published"
        return f"{(strategy.weight_sum or Decimal(0)) * 100:.2f} %"

    @admin.display(description="Accounts", ordering="follower_count")
    def followers(self, strategy: Any) -> int:
        """How many accounts follow it."""
        return int(strategy.follower_count)


class RuleFormSet(_LabelledFormSet):
    """The rules of a set; they do not lead in a circle."""

    def clean(self) -> None:
        """Names the circle."""
        super().clean()
        if any(self.errors):
            return
        rows = [form.cleaned_data for form in self.forms if form.cleaned_data and not form.cleaned_data.get("DELETE")]
        if cycle := find_cycle({row["source"]: row["target"] for row in rows}):
            raise ValidationError(f"The rules lead in a circle: {' → '.join(cycle)}.")


class RuleInline(admin.TabularInline[ReplacementRule, ReplacementSet]):
    """Rules of a replacement set."""

    model = ReplacementRule
    form = _LabelledForm
    formset = RuleFormSet
    extra = 1


@admin.register(ReplacementSet)
class ReplacementSetAdmin(SimpleHistoryAdmin):
    """Replacement sets."""

    list_display = ("name", "description", "rule_count", "follower_count")
    search_fields = ("name", "description", "rules__source", "rules__target")
    inlines = (RuleInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReplacementSet]:
        """With the counts that the list shows."""
        sets: QuerySet[ReplacementSet] = super().get_queryset(request)
        return sets.annotate(rules_n=Count("rules", distinct=True), accounts_n=Count("accounts", distinct=True))

    @admin.display(description="Rules", ordering="rules_n")
    def rule_count(self, replacement_set: Any) -> int:
        """How many rules it has."""
        return int(replacement_set.rules_n)

    @admin.display(description="Accounts", ordering="accounts_n")
    def follower_count(self, replacement_set: Any) -> int:
        """How many accounts use it."""
        return int(replacement_set.accounts_n)


class RebalancePolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A policy; making it the default takes that from the one before."""

    def _get_validation_exclusions(self) -> set[str]:
        # That there is one default is kept when it is saved, in one transaction.
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]


@admin.register(RebalancePolicy)
class RebalancePolicyAdmin(SimpleHistoryAdmin):
    """Policies."""

    form = RebalancePolicyForm
    list_display = (
        "name",
        "is_default",
        "allocation_threshold_percent",
        "minimum_cash_reserve_usd",
        "order_tif",
    )
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "is_default")}),
        *(
            (group.title, {"fields": fields, "description": group.description})
            for group, fields in RebalancePolicy.grouped_fields()
        ),
    )

    def save_model(self, request: HttpRequest, obj: RebalancePolicy, form: Any, change: bool) -> None:  # noqa: FBT001
        """Saves it; there is one default at a time."""
        if obj.is_default:
            RebalancePolicy.objects.filter(is_default=True).exclude(pk=obj.pk).update(is_default=False)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: RebalancePolicy | None = None) -> bool:
        """The default policy stays: accounts rely on it."""
        return not (obj and obj.is_default) and super().has_delete_permission(request, obj)


@admin.register(BrokerConnection)
class BrokerConnectionAdmin(admin.ModelAdmin[BrokerConnection]):
    """Connection slots, to look at: they are made and filled by themselves."""

    list_display = (
        "__str__",
        "broker",
        "environment",
        "client_id",
        "lease_owner",
        "lease_until",
        "in_use_since",
    )
    list_filter = ("broker", "environment")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: BrokerConnection | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BrokerConnection | None = None) -> bool:
        """Nobody."""
        return False
