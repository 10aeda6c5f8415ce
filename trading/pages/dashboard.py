"""The dashboard: all accounts, the largest drift first, in a constant number of queries."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.models import Account
from trading.actions.previews import PREVIEW_PERMISSION, VIEW_PERMISSION
from trading.models import AccountStanding, RebalanceRun, RunState, ScheduleEntry, ScheduleState, without_documents
from trading.models.run_documents import stored_weights
from trading.pages.charts import Slice, Spark, asset_colour, slices, spark, value_chart
from trading.pages.history import CARD_DAYS, change_percent, rebalance_days, total_values, values_of
from trading.pages.layout import render_page
from trading.pages.permissions import require_permission

CARDS_A_PAGE = 12
OLD_AFTER = timedelta(days=2)


@dataclass(frozen=True)
class Card:
    """An account on the dashboard."""

    account: Account
    standing: AccountStanding | None
    strip: list[Slice]
    chart: Spark | None
    change_percent: Decimal | None
    running: str
    is_old: bool


@require_GET
@require_permission(VIEW_PERMISSION)
def dashboard(request: HttpRequest) -> HttpResponse:
    """Return the dashboard."""
    pages = Paginator(_by_drift(), CARDS_A_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING)
    context = {
        "page": shown,
        "cards": _cards(shown),
        "totals": _totals(),
        "chart": value_chart(total_values(), rebalance_days()),
        "latest": without_documents(RebalanceRun.objects.select_related("account")).order_by("-id")[:6],
        "next_entry": waiting.select_related("account").order_by("due_at").first(),
        "may_preview": request.user.has_perm(PREVIEW_PERMISSION),
    }
    return render_page(request, "trading/dashboard.html", context, "Dashboard")


def _by_drift() -> QuerySet[Account]:
    accounts = Account.objects.filter(enabled=True).with_followed_strategy().select_related("standing")
    return accounts.order_by(
        F("standing__is_outside").desc(nulls_last=True),
        F("standing__largest_drift_percent").desc(nulls_last=True),
        "account_id",
    )


def _cards(shown: Page[Account]) -> list[Card]:
    accounts = list(shown)
    values = values_of([account.pk for account in accounts], CARD_DAYS)
    running = dict(_runs_in_progress().filter(account__in=accounts).values_list("account_id", "run_id"))
    old = timezone.now() - OLD_AFTER
    cards = []
    for account in accounts:
        standing = getattr(account, "standing", None)
        points = values[account.pk]
        cards.append(
            Card(
                account=account,
                standing=standing,
                strip=_strip(standing),
                chart=spark([value for _, value in points]),
                change_percent=change_percent(points),
                running=running.get(account.pk, ""),
                is_old=bool(standing and standing.seen_at < old),
            )
        )
    return cards


def _strip(standing: AccountStanding | None) -> list[Slice]:
    weights = stored_weights(dict(standing.weights) if standing else None)
    held = [(symbol, weight) for symbol, weight in weights.items() if weight]
    return slices([(symbol, asset_colour(symbol, index), weight) for index, (symbol, weight) in enumerate(held)])


def _totals() -> dict[str, object]:
    """Return the totals of all enabled accounts."""
    enabled = Q(account__enabled=True)
    known = AccountStanding.objects.aggregate(
        value=Sum("total_value_usd", filter=enabled),
        cash=Sum("cash_usd", filter=enabled),
        outside=Count("pk", filter=enabled & Q(is_outside=True)),
    )
    return known | {"accounts": Account.objects.filter(enabled=True).count(), "running": _runs_in_progress().count()}


def _runs_in_progress() -> QuerySet[RebalanceRun]:
    return RebalanceRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING))
