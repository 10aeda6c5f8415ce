"""What every page's frame shows, the admin's pages included: the menu, and what holds for all accounts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import Account
from trading.models import RebalanceRun, RunState, TradingControl

CHANGELIST = "admin:accounts_account_changelist"
SEE_ACCOUNTS = "accounts.view_account"


@dataclass(frozen=True)
class Entry:
    """One entry of the menu, for who has its right; it is current when the address starts with one of `below`."""

    label: str
    icon: str
    view: str
    right: str
    below: tuple[str, ...]


MENU = (
    Entry("Dashboard", "dashboard", "trading:dashboard", SEE_ACCOUNTS, ()),
    Entry("Accounts", "accounts", CHANGELIST, SEE_ACCOUNTS, ("/admin/accounts/account/", "/accounts/")),
    Entry(
        "Strategies",
        "strategies",
        "trading:strategies",
        "accounts.view_strategy",
        ("/strategies/", "/admin/accounts/strategy/"),
    ),
    Entry(
        "Replacement sets",
        "replacements",
        "trading:replacement_sets",
        "accounts.view_replacementset",
        ("/replacement-sets/", "/admin/accounts/replacementset/"),
    ),
    Entry("Runs", "runs", "trading:runs", SEE_ACCOUNTS, ("/runs/", "/admin/trading/rebalancerun/")),
    Entry("Events", "events", "trading:events", SEE_ACCOUNTS, ("/events/", "/admin/trading/strategyevent/")),
    Entry("Schedule", "schedule", "trading:schedule", SEE_ACCOUNTS, ("/schedule/", "/admin/trading/scheduleentry/")),
    Entry("Notifications", "notifications", "trading:notifications", "trading.view_notification", ("/notifications/",)),
    Entry("System", "system", "admin:index", "", ("/admin/",)),
)


def frame(request: HttpRequest) -> dict[str, Callable[[], Any]]:
    """A context processor. Nothing is read until a template shows it."""
    return {
        "menu": lambda: _menu(request),
        "trading_mode": lambda: settings.TRADING_MODE,
        "live_trading": lambda: settings.ALLOW_LIVE_TRADING and settings.TRADING_MODE == "live",
        "trading_paused": TradingControl.objects.filter(trading_paused=True).exists,
    }


def _menu(request: HttpRequest) -> list[dict[str, object]]:
    path = request.path
    current = next((entry for entry in MENU if path.startswith(entry.below)), None) if path != "/" else MENU[0]
    attention = RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count()
    return [
        {
            "label": entry.label,
            "icon": entry.icon,
            "address": reverse(entry.view),
            "current": entry is current,
            "count": attention if entry.icon == "runs" else 0,
            "apart": entry is MENU[-1],
        }
        for entry in MENU
        if not entry.right or request.user.has_perm(entry.right)
    ]


def user_of(request: HttpRequest) -> User:
    """Who is logged in."""
    # Behind django-otp's middleware it is a lazy object that says it is a User, and is one.
    if not isinstance(request.user, User):
        raise TypeError("The views are for people who are logged in.")
    return request.user


def accounts_crumb() -> tuple[str, str]:
    """Leads back to the list of accounts."""
    return "Accounts", reverse(CHANGELIST)


def account_crumb(account: Account) -> tuple[str, str]:
    """Leads back to the account."""
    return account.display_name, reverse("trading:account", args=[account.account_id])


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any], title: str, *crumbs: tuple[str, str]
) -> HttpResponse:
    """A page in the frame; crumbs are labels with addresses, from the outside in."""
    shell = admin.site.each_context(request) | {"title": title, "crumbs": crumbs, "is_nav_sidebar_enabled": True}
    return render(request, template, shell | context)
