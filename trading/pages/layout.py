"""The layout of every page, admin pages included: menu, breadcrumbs and trading status."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import Account
from trading.actions.approvals import waiting_plans
from trading.models import RebalanceRun, RunState, TradingControl

CHANGELIST = "admin:accounts_account_changelist"
VIEW_ACCOUNTS = "accounts.view_account"
VIEW_STRATEGIES = "accounts.view_strategy"
VIEW_SETS = "accounts.view_replacementset"


@dataclass(frozen=True)
class Entry:
    """A menu entry, shown to users with its permission. It is current on addresses that start with one of `below`."""

    label: str
    icon: str
    view: str
    permission: str
    below: tuple[str, ...]


MENU = (
    Entry("Dashboard", "dashboard", "trading:dashboard", VIEW_ACCOUNTS, ()),
    Entry("Approvals", "approvals", "trading:approvals", VIEW_ACCOUNTS, ("/approvals/",)),
    Entry("Accounts", "accounts", CHANGELIST, VIEW_ACCOUNTS, ("/admin/accounts/account/", "/accounts/")),
    Entry(
        "Strategies", "strategies", "trading:strategies", VIEW_STRATEGIES, ("/strategies/", "/admin/accounts/strategy/")
    ),
    Entry(
        "Replacement sets",
        "replacements",
        "trading:replacement_sets",
        VIEW_SETS,
        ("/replacement-sets/", "/admin/accounts/replacementset/"),
    ),
    Entry("Runs", "runs", "trading:runs", VIEW_ACCOUNTS, ("/runs/", "/admin/trading/rebalancerun/")),
    Entry("Events", "events", "trading:events", VIEW_ACCOUNTS, ("/events/", "/admin/trading/strategyevent/")),
    Entry("Schedule", "schedule", "trading:schedule", VIEW_ACCOUNTS, ("/schedule/", "/admin/trading/scheduleentry/")),
    Entry("Notifications", "notifications", "trading:notifications", "trading.view_notification", ("/notifications/",)),
    Entry("System", "system", "admin:index", "", ("/admin/",)),
)


def frame(request: HttpRequest) -> dict[str, Callable[[], Any]]:
    """Return the context of the layout, as a context processor. Values are read when a template uses them."""
    waiting = cache(waiting_plans().count)
    return {
        "menu": lambda: _menu(request, {"approvals": (waiting(), "Plans that wait for approval")}),
        "waiting_approvals": waiting,
        "trading_mode": lambda: settings.TRADING_MODE,
        "live_trading": lambda: settings.ALLOW_LIVE_TRADING and settings.TRADING_MODE == "live",
        "trading_paused": TradingControl.objects.filter(trading_paused=True).exists,
    }


def _menu(request: HttpRequest, counts: dict[str, tuple[int, str]]) -> list[dict[str, object]]:
    path = request.path
    current = next((entry for entry in MENU if path.startswith(entry.below)), None) if path != "/" else MENU[0]
    counts["runs"] = RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count(), "Runs that need attention"
    return [
        {
            "label": entry.label,
            "icon": entry.icon,
            "address": reverse(entry.view),
            "current": entry is current,
            "count": counts.get(entry.icon),
            "apart": entry is MENU[-1],
        }
        for entry in MENU
        if not entry.permission or request.user.has_perm(entry.permission)
    ]


def user_of(request: HttpRequest) -> User:
    """Return the user who is logged in."""
    # The middleware of django-otp replaces it by a lazy object, which isinstance resolves.
    if not isinstance(request.user, User):
        raise TypeError("This view requires a login.")
    return request.user


def accounts_crumb() -> tuple[str, str]:
    """Return the breadcrumb of the account list."""
    return "Accounts", reverse(CHANGELIST)


def account_crumb(account: Account) -> tuple[str, str]:
    """Return the breadcrumb of an account."""
    return account.display_name, reverse("trading:account", args=[account.account_id])


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any], title: str, *crumbs: tuple[str, str]
) -> HttpResponse:
    """Render a page in the layout. Crumbs are labels with addresses, the outermost first."""
    shell = admin.site.each_context(request) | {"title": title, "crumbs": crumbs, "is_nav_sidebar_enabled": True}
    return render(request, template, shell | context)
