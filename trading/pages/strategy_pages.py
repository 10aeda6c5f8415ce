from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Prefetch, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account, RebalancePolicy, Strategy, TargetAllocation
from accounts.target_weights import sum_problem
from trading.actions.fetch_targets import fetch_strategy_targets
from trading.errors import Refused, RunFailed
from trading.models import PublishedTargets, StrategyEvent
from trading.pages.account_facts import preview_obstacle
from trading.pages.charts import WIDTH, colour, geometry
from trading.pages.layout import VIEW_STRATEGIES, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal

CHANGE_STRATEGY = "accounts.change_strategy"
A_PAGE = 24
FOLLOWERS_SHOWN = 50
WHOLE = Decimal(100)
MOST_PLACES = 4
"""Most decimals of a target that are shown, in percent."""


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
    followers = (
        Account.objects.filter(strategy=found)
        .with_followed_strategy()
        .select_related("standing", "policy", "replacement_set")
        .defer(*(f"standing__{name}" for name in ("snapshot", "weights", "target_weights", "basis")))
    )
    context = {
        "strategy": found,
        **targets_of(found),
        "followers": [
            {"account": account, "obstacle": preview_obstacle(account)}
            for account in followers.order_by("-enabled", "account_id")[:FOLLOWERS_SHOWN]
        ],
        "default_policy": RebalancePolicy.objects.filter(is_default=True).first(),
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
        messages.success(request, f"{len(targets.items)} targets fetched. Fetching does not trade.")
        for warning in targets.warnings:
            messages.warning(request, warning.message)
    except (RunFailed, Refused) as failure:
        show_refusal(request, failure)
    return redirect("trading:strategy", name=name)


def targets_of(strategy: Strategy) -> dict[str, Any]:
    """Return the targets of a strategy in percent, with their sum and the remaining cash.

    `percent` is exact. `shown` has at most `places` decimals, and the numbers that are shown add up to `total`.
    """
    published: PublishedTargets | None = getattr(strategy, "published", None)
    if strategy.source == Strategy.Source.STATIC:
        pairs = [(target.symbol, target.weight) for target in strategy.targets.all()]
    else:
        pairs = [(item["symbol"], Decimal(item["weight"])) for item in (published.targets if published else [])]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    percents = [weight * 100 for _, weight in pairs]
    shown = round_to_sum(percents)
    total = sum(shown, Decimal(0))
    widest = max([Decimal(1), *percents])
    return {
        "targets": [
            {
                "symbol": name,
                "percent": percents[index],
                "shown": shown[index],
                "colour": colour(index),
                "width": geometry(percents[index] / widest * WIDTH),
            }
            for index, (name, _) in enumerate(pairs)
        ],
        "places": max((-int(number.as_tuple().exponent) for number in shown), default=0),
        "total": total,
        "cash": max(WHOLE - total, Decimal(0)),
        "too_much": total - WHOLE if sum_problem(sum(percents, Decimal(0)) / 100) else Decimal(0),
        "published": published,
    }


def round_to_sum(percents: Sequence[Decimal]) -> list[Decimal]:
    """Return the numbers with the decimals that they need, at most `MOST_PLACES`, so that they add up to their sum.

    A number that needs more is rounded down, or up where the sum requires it: the one that lost most first.
    """
    needed = max((-int(number.normalize().as_tuple().exponent) for number in percents), default=0)
    unit = Decimal(1).scaleb(-min(max(needed, 0), MOST_PLACES))
    shown = [number.quantize(unit, ROUND_DOWN) for number in percents]
    missing = sum(percents, Decimal(0)).quantize(unit, ROUND_HALF_UP) - sum(shown, Decimal(0))
    by_loss = sorted(range(len(percents)), key=lambda index: (shown[index] - percents[index], index))
    for index in by_loss[: int(missing / unit)]:
        shown[index] += unit
    return shown
