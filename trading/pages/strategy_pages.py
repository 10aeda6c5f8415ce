from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Prefetch, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account, Strategy, TargetAllocation
from accounts.target_weights import sum_problem
from trading.actions.fetch_targets import fetch_strategy_targets
from trading.errors import Refused, RunFailed
from trading.models import PublishedTargets, StrategyEvent
from trading.pages.charts import WIDTH, colour, geometry
from trading.pages.layout import VIEW_STRATEGIES, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal

CHANGE_STRATEGY = "accounts.change_strategy"
A_PAGE = 24
FOLLOWERS_SHOWN = 50
WHOLE = Decimal(100)


@require_GET
@require_permission(VIEW_STRATEGIES)
def strategies(request: HttpRequest) -> HttpResponse:
    """Return the list of strategies."""
    newest = StrategyEvent.objects.filter(channel=OuterRef("name")).order_by("-id")
    found = (
        Strategy.objects.annotate(
            followers=Count("accounts", filter=Q(accounts__enabled=True), distinct=True),
            event_at=Subquery(newest.values("received_at")[:1]),
            event_state=Subquery(newest.values("state")[:1]),
        )
        .select_related("published")
        .prefetch_related(Prefetch("targets", TargetAllocation.objects.order_by("-weight", "symbol")))
        .order_by("-enabled", "name")
    )
    shown = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    cards = [{"strategy": one, **targets_of(one)} for one in shown]
    context = {"page": shown, "cards": cards, "may_add": request.user.has_perm("accounts.add_strategy")}
    return render_page(request, "trading/strategies.html", context, "Strategies")


@require_GET
@require_permission(VIEW_STRATEGIES)
def strategy(request: HttpRequest, name: str) -> HttpResponse:
    """Return the page of a strategy."""
    found = get_object_or_404(Strategy.objects.select_related("published").prefetch_related("targets"), name=name)
    followers = Account.objects.filter(strategy=found).select_related("standing", "policy", "replacement_set")
    context = {
        "strategy": found,
        **targets_of(found),
        "followers": followers.order_by("-enabled", "account_id")[:FOLLOWERS_SHOWN],
        "follower_count": followers.count(),
        "events": StrategyEvent.objects.filter(channel=found.name).order_by("-id")[:6],
        "may_change": request.user.has_perm(CHANGE_STRATEGY),
        "may_fetch": found.source == Strategy.Source.API,
    }
    return render_page(
        request, "trading/strategy.html", context, found.display_name, ("Strategies", reverse("trading:strategies"))
    )


@require_POST
@require_permission(VIEW_STRATEGIES)
def fetch(request: HttpRequest, name: str) -> HttpResponse:
    """Fetch the targets of a strategy from the allocations service."""
    found = get_object_or_404(Strategy, name=name)
    try:
        targets = fetch_strategy_targets(found, user_of(request))
        messages.success(request, f"{len(targets)} targets fetched. Fetching does not trade.")
    except (RunFailed, Refused) as failure:
        show_refusal(request, failure)
    return redirect("trading:strategy", name=name)


def targets_of(strategy: Strategy) -> dict[str, Any]:
    """Return the targets of a strategy in percent, with their sum and the remaining cash."""
    published: PublishedTargets | None = getattr(strategy, "published", None)
    if strategy.source == Strategy.Source.STATIC:
        pairs = [(target.symbol, target.weight) for target in strategy.targets.all()]
    else:
        pairs = [(item["symbol"], Decimal(item["weight"])) for item in (published.targets if published else [])]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    total = sum((weight for _, weight in pairs), Decimal(0)) * 100
    widest = max([Decimal("0.01"), *(weight for _, weight in pairs)])
    return {
        "targets": [
            {"symbol": name, "percent": part * 100, "colour": colour(index), "width": geometry(part / widest * WIDTH)}
            for index, (name, part) in enumerate(pairs)
        ],
        "total": total,
        "cash": max(WHOLE - total, Decimal(0)),
        "too_much": total - WHOLE if sum_problem(total / 100) else Decimal(0),
        "published": published,
    }
