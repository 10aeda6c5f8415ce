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
from accounts.static_targets import targets_problem
from accounts.target_files_admin import TargetFilesMixin
from brokers.registry import broker_choices
from calculator.formats import percent

INLINE_TEMPLATE = "admin/parts/inline_rows.html"


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form of an account. The broker is one of the registered brokers."""

    broker = forms.ChoiceField(choices=broker_choices, initial="simulated")

    def clean(self) -> dict[str, Any]:
        """Reject an armed account that is not a live account."""
        cleaned = super().clean() or {}
        if cleaned.get("live_armed") and cleaned.get("type") != Account.Type.LIVE:
            raise ValidationError({"live_armed": "Only a live account can be armed for live trading."})
        return cleaned


@admin.register(Account)
class AccountAdmin(SimpleHistoryAdmin):
    """Admin of accounts."""

    form = AccountForm
    list_display = ("account_id", "name", "type", "broker", "strategy", "enabled", "trading_paused", "live_armed")
    list_filter = ("type", "broker", "enabled", "trading_paused", "strategy")
    search_fields = ("account_id", "name", "strategy__name")
    list_select_related = ("strategy",)
    readonly_fields = ("connection",)
    actions = ("pause_trading", "resume_trading")
    fieldsets = (
        (None, {"fields": ("account_id", "name", "broker", "type", "connection")}),
        ("Targets", {"fields": ("strategy", "replacement_set", "cash_reserve_percent", "policy")}),
        ("Safety", {"fields": ("enabled", "trading_paused", "trade_guard", "live_armed")}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer no deletion of a strategy, set or policy beside its box: other accounts may use it."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, forms.ModelChoiceField):
            field.widget.can_delete_related = field.widget.can_view_related = False
        return field

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the account; create the simulated records of a new simulated account."""
        super().save_model(request, obj, form, change)
        if ensure_simulated_account(obj):
            messages.info(request, f"The simulated broker has opened account {obj.account_id}.")

    @admin.action(description="Pause trading", permissions=["change"])
    def pause_trading(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Turn on the kill switch of the selected accounts."""
        self._set_paused(request, queryset, paused=True)

    @admin.action(description="Resume trading", permissions=["change"])
    def resume_trading(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Turn off the kill switch of the selected accounts."""
        self._set_paused(request, queryset, paused=False)

    def _set_paused(self, request: HttpRequest, queryset: QuerySet[Account], *, paused: bool) -> None:
        changed = list(queryset.filter(trading_paused=not paused))
        for account in changed:  # saved one by one, because the history needs a row for each
            account.trading_paused = paused
            account.save(update_fields=["trading_paused", "updated_at"])
        messages.success(request, f"{len(changed)} accounts {'paused' if paused else 'resumed'}.")


class _InlineFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    def add_fields(self, form: "forms.ModelForm[Any]", index: int | None) -> None:
        """Give each input an accessible name, the delete checkbox included: columns have headings but no labels."""
        super().add_fields(form, index)
        for name, field in form.fields.items():
            field.widget.attrs.setdefault("aria-label", str(field.label or name))

    def clean(self) -> None:
        super().clean()
        if not any(self.errors):
            rows = [form.cleaned_data for form in self.forms if form.cleaned_data]
            self.check_rows([row for row in rows if not row.get("DELETE")])

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Check the rows that are saved together."""
        raise NotImplementedError


class TargetFormSet(_InlineFormSet):
    """Targets of a static strategy. Their weights must not exceed 1 in total, and none may be named like cash."""

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Reject a total above 1, names of cash, and a static strategy without weights."""
        targets = [(row["symbol"], row["weight"]) for row in rows]
        is_used = self.instance.source == Strategy.Source.STATIC or any(weight for _, weight in targets)
        if is_used and (problem := targets_problem(targets, self.instance.stocks_named_like_cash)):
            raise ValidationError(problem)


class TargetInline(admin.TabularInline[TargetAllocation, Strategy]):
    """Rows of the targets of a strategy."""

    model = TargetAllocation
    template = INLINE_TEMPLATE
    formset = TargetFormSet
    extra = 1


@admin.register(Strategy)
class StrategyAdmin(TargetFilesMixin, SimpleHistoryAdmin):
    """Admin of strategies."""

    list_display = ("name", "title", "source", "enabled", "weights", "followers", "cadence", "drift_check")
    list_filter = ("source", "enabled", "cadence", "drift_check")
    search_fields = ("name", "title")
    fieldsets = (
        (None, {"fields": ("name", "title", "source", "enabled")}),
        ("Targets", {"fields": ("cash_like_stocks",)}),
        ("Events", {"fields": ("late_event_policy", "late_after_seconds")}),
        ("Schedule", {"fields": ("cadence", "drift_check", "drift_check_minutes")}),
        ("Approval", {"fields": ("auto_approve_turnover_percent",)}),
        ("Notes", {"fields": ("notes",)}),
    )
    inlines = (TargetInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Strategy]:
        """Return the strategies with the sums of the list."""
        strategies: QuerySet[Strategy] = super().get_queryset(request)
        # A subquery, because two joins in one query would multiply each other's rows.
        weights = TargetAllocation.objects.filter(strategy=OuterRef("pk")).values("strategy")
        return strategies.annotate(
            weight_sum=Subquery(weights.annotate(sum=Sum("weight")).values("sum")),
            follower_count=Count("accounts", distinct=True),
        )

    @admin.display(description="Sum of weights")
    def weights(self, strategy: Any) -> str:
        """Return the sum of the weights of a static strategy."""
        if strategy.source != Strategy.Source.STATIC:
            return "published"
        return percent((strategy.weight_sum or Decimal(0)) * 100, 2, trim=True)

    @admin.display(description="Accounts", ordering="follower_count")
    def followers(self, strategy: Any) -> int:
        """Return the number of accounts that follow the strategy."""
        return int(strategy.follower_count)


class RuleFormSet(_InlineFormSet):
    """Rules of a replacement set."""

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Reject rules that form a cycle, and name it."""
        if cycle := find_cycle({row["source"]: row["target"] for row in rows}):
            raise ValidationError(f"The rules form a cycle: {' → '.join(cycle)}. Remove one of them.")


class RuleInline(admin.TabularInline[ReplacementRule, ReplacementSet]):
    """Rows of the rules of a replacement set."""

    model = ReplacementRule
    template = INLINE_TEMPLATE
    formset = RuleFormSet
    extra = 1


@admin.register(ReplacementSet)
class ReplacementSetAdmin(SimpleHistoryAdmin):
    """Admin of replacement sets."""

    list_display = ("name", "description", "rule_count", "follower_count")
    search_fields = ("name", "description", "rules__source", "rules__target")
    inlines = (RuleInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReplacementSet]:
        """Return the replacement sets with the counts of the list."""
        sets: QuerySet[ReplacementSet] = super().get_queryset(request)
        return sets.annotate(rules_n=Count("rules", distinct=True), accounts_n=Count("accounts", distinct=True))

    @admin.display(description="Rules", ordering="rules_n")
    def rule_count(self, replacement_set: Any) -> int:
        """Return the number of rules."""
        return int(replacement_set.rules_n)

    @admin.display(description="Accounts", ordering="accounts_n")
    def follower_count(self, replacement_set: Any) -> int:
        """Return the number of accounts that use the set."""
        return int(replacement_set.accounts_n)


class RebalancePolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form of a policy. A new default policy replaces the previous one."""

    def _get_validation_exclusions(self) -> set[str]:
        # Saving ensures in one transaction that there is only one default.
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]


@admin.register(RebalancePolicy)
class RebalancePolicyAdmin(SimpleHistoryAdmin):
    """Admin of policies."""

    form = RebalancePolicyForm
    list_display = ("name", "is_default", "allocation_threshold_percent", "minimum_cash_reserve_usd", "order_tif")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "is_default")}),
        *(
            (title, {"fields": fields, "description": description})
            for title, description, fields in RebalancePolicy.grouped_fields()
        ),
    )

    def save_model(self, request: HttpRequest, obj: RebalancePolicy, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the policy; if it is the default, no other policy is."""
        if obj.is_default:
            # A plain queryset, which announces nothing: until the other is saved, there is no default to compare with.
            QuerySet(RebalancePolicy).filter(is_default=True).exclude(pk=obj.pk).update(is_default=False)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: RebalancePolicy | None = None) -> bool:
        """Forbid deleting the default policy, which accounts without a policy use."""
        return not (obj and obj.is_default) and super().has_delete_permission(request, obj)


@admin.register(BrokerConnection)
class BrokerConnectionAdmin(admin.ModelAdmin[BrokerConnection]):
    """Read-only list of connection slots, which are created and assigned automatically."""

    list_display = ("__str__", "broker", "environment", "client_id", "lease_owner", "lease_until", "in_use_since")
    list_filter = ("broker", "environment")

    def has_add_permission(self, request: HttpRequest, obj: BrokerConnection | None = None) -> bool:
        """Forbid every change."""
        return False

    has_change_permission = has_delete_permission = has_add_permission
