from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET

from accounts.models import Account, ReplacementSet, Strategy
from accounts.policies import resolve_policy
from accounts.replacements import find_cycle, replacement_rules
from calculator import AllocationItem, CalculationRefused, ReplacementRule, apply_replacements
from trading.pages.layout import VIEW_SETS, render_page
from trading.pages.permissions import require_permission
from trading.pages.strategy_pages import targets_of

A_PAGE = 50
ZERO = Decimal(0)


@dataclass(frozen=True)
class Change:
    """Weights of a symbol before and after the replacements, in percent."""

    symbol: str
    before: Decimal
    after: Decimal
    change: Decimal


@dataclass(frozen=True)
class Effect:
    """The effect of a set on a strategy, for the accounts that use both."""

    strategy: Strategy
    accounts: list[Account]
    changes: list[Change]
    refusal: str
    is_known: bool


@require_GET
@require_permission(VIEW_SETS)
def replacement_sets(request: HttpRequest) -> HttpResponse:
    """Return the list of replacement sets."""
    found = ReplacementSet.objects.annotate(followers=Count("accounts", distinct=True)).prefetch_related("rules")
    shown = Paginator(found.order_by("name"), A_PAGE).get_page(request.GET.get("page"))
    context = {"page": shown, "may_add": request.user.has_perm("accounts.add_replacementset")}
    return render_page(request, "trading/replacement_sets.html", context, "Replacement sets")


@require_GET
@require_permission(VIEW_SETS)
def replacement_set(request: HttpRequest, name: str) -> HttpResponse:
    """Return the page of a replacement set."""
    found = get_object_or_404(ReplacementSet.objects.prefetch_related("rules"), name=name)
    rules = list(found.rules.all())
    context = {
        "set": found,
        "rules": rules,
        "cycle": find_cycle({rule.source: rule.target for rule in rules}),
        "effects": _effects(found),
        "may_change": request.user.has_perm("accounts.change_replacementset"),
    }
    crumb = ("Replacement sets", reverse("trading:replacement_sets"))
    return render_page(request, "trading/replacement_set.html", context, found.name, crumb)


def _effects(found: ReplacementSet) -> list[Effect]:
    accounts = (
        found.accounts.filter(strategy__isnull=False)
        .select_related("strategy__published", "policy")
        .prefetch_related("strategy__targets")
        .order_by("strategy__name", "account_id")
    )
    rules = replacement_rules(found)
    users = groupby(accounts, lambda account: account.followed_strategy)
    return [_effect(strategy, list(of_one), rules) for strategy, of_one in users if strategy is not None]


def _effect(strategy: Strategy, accounts: list[Account], rules: tuple[ReplacementRule, ...]) -> Effect:
    shown = targets_of(strategy)["targets"]
    items = [AllocationItem(symbol=target["symbol"], weight=target["percent"] / 100) for target in shown]
    try:
        result = apply_replacements(items, rules, resolve_policy(accounts[0]).replacements)
    except CalculationRefused as refusal:
        return Effect(strategy, accounts, [], refusal.message, is_known=bool(items))
    before = {item.symbol: item.weight * 100 for item in items}
    after = {item.symbol: item.weight * 100 for item in result.items}
    weights = {name: (before.get(name, ZERO), after.get(name, ZERO)) for name in before.keys() | after.keys()}
    changes = [Change(symbol, was, becomes, becomes - was) for symbol, (was, becomes) in weights.items()]
    changes.sort(key=lambda change: (-change.before, change.symbol))
    return Effect(strategy, accounts, changes, "", is_known=bool(items))
