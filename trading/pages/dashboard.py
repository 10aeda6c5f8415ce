"""The dashboard: all accounts, the largest drift first, in a constant number of queries."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, F, QuerySet, Sum, Value, When
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from accounts.models import Account
from trading.actions.previews import PREVIEW_PERMISSION, VIEW_PERMISSION
from trading.models import (
    AccountStanding,
    RebalanceRun,
    RunState,
    ScheduleEntry,
    ScheduleState,
    StandingState,
    without_documents,
)
from trading.models.run_documents import stored_weights
from trading.pages.account_facts import old_before, preview_obstacle
from trading.pages.charts import Slice, Spark, asset_colour, slices, spark
from trading.pages.history import CARD_DAYS, MONTH_DAYS, flow_days, points_of, total_chart
from trading.pages.layout import render_page
from trading.pages.permissions import require_permission
from trading.planning.performance import Performance, performance_of
from trading.planning.returns import Period

CARDS_A_PAGE = 12
WORST_FIRST = (StandingState.OUTSIDE, StandingState.VOID, StandingState.UNKNOWN, StandingState.INSIDE)
STATE_COUNTS = {
    StandingState.OUTSIDE: "outside",
    StandingState.INSIDE: "inside",
    StandingState.UNKNOWN: "not checked yet",
    StandingState.VOID: "changed, not checked since",
}


@dataclass(frozen=True)
class Card:
    """An account on the dashboard."""

    account: Account
    standing: AccountStanding | None
    obstacle: str
    strip: list[Slice]
    chart: Spark | None
    period: Period
    running: str
    is_old: bool


@require_GET
@require_permission(VIEW_PERMISSION)
def dashboard(request: HttpRequest) -> HttpResponse:
    """Return the dashboard."""
    pages = Paginator(_worst_first(), CARDS_A_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING)
    context = {
        "page": shown,
        "cards": _cards(shown),
        "totals": _totals(),
        "chart": total_chart(),
        "latest": without_documents(RebalanceRun.objects.select_related("account")).order_by("-id")[:6],
        "next_entry": waiting.select_related("account").order_by("due_at").first(),
        "may_preview": request.user.has_perm(PREVIEW_PERMISSION),
    }
    return render_page(request, "trading/dashboard.html", context, "Dashboard")


def _worst_first() -> QuerySet[Account]:
    accounts = Account.objects.filter(enabled=True).with_followed_strategy().select_related("standing")
    accounts = accounts.defer(*(f"standing__{name}" for name in ("snapshot", "target_weights", "basis")))
    order = Case(
        *(When(standing__state=state, then=Value(place)) for place, state in enumerate(WORST_FIRST)),
        default=Value(WORST_FIRST.index(StandingState.UNKNOWN)),
    )
    return accounts.order_by(order, F("standing__largest_drift_percent").desc(nulls_last=True), "account_id")


def _cards(shown: Page[Account]) -> list[Card]:
    accounts = list(shown)
    performances = performance_of([account.pk for account in accounts], CARD_DAYS)
    running = dict(_runs_in_progress().filter(account__in=accounts).values_list("account_id", "run_id"))
    old = old_before()
    return [_card(account, performances[account.pk], running.get(account.pk, ""), old) for account in accounts]


def _card(account: Account, performance: Performance, running: str, old: datetime) -> Card:
    standing = getattr(account, "standing", None)
    return Card(
        account=account,
        standing=standing,
        obstacle=preview_obstacle(account),
        strip=_strip(standing),
        chart=spark(points_of(performance, CARD_DAYS), flow_days(performance)),
        period=performance.over(MONTH_DAYS),
        running=running,
        is_old=bool(standing and standing.as_of < old),
    )


def _strip(standing: AccountStanding | None) -> list[Slice]:
    weights = stored_weights(dict(standing.weights) if standing else None)
    held = [(symbol, weight) for symbol, weight in weights.items() if weight]
    return slices([(symbol, asset_colour(symbol, index), weight) for index, (symbol, weight) in enumerate(held)])


def _totals() -> dict[str, object]:
    """Return the totals of all enabled accounts; only accounts of this environment are compared with their targets."""
    enabled = Account.objects.filter(enabled=True)
    sums = enabled.aggregate(value=Sum("standing__total_value_usd"), cash=Sum("standing__cash_usd"))
    compared = enabled.filter(type=settings.TRADING_MODE)
    states = dict(compared.values_list("standing__state").annotate(accounts=Count("pk")).order_by())
    states[StandingState.UNKNOWN] = states.get(StandingState.UNKNOWN, 0) + states.pop(None, 0)
    counts = [(states.get(state, 0), text) for state, text in STATE_COUNTS.items()]
    return sums | {
        "accounts": enabled.count(),
        "outside": states.get(StandingState.OUTSIDE, 0),
        "checked": states.get(StandingState.OUTSIDE, 0) + states.get(StandingState.INSIDE, 0),
        "states": " · ".join(f"{count} {text}" for count, text in counts if count),
        "running": _runs_in_progress().count(),
    }


def _runs_in_progress() -> QuerySet[RebalanceRun]:
    return RebalanceRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING))
