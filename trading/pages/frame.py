"""The admin's frame around a page of ours."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from trading.models import TradingControl


def framed(request: HttpRequest, template: str, context: dict[str, Any], title: str) -> HttpResponse:
    """A page in the admin's frame."""
    control = TradingControl.objects.filter(pk=1).first()
    frame = admin.site.each_context(request) | {
        "title": title,
        "is_nav_sidebar_enabled": True,
        "trading_mode": settings.TRADING_MODE,
        "live_trading": settings.ALLOW_LIVE_TRADING and settings.TRADING_MODE == "live",
        "trading_paused": bool(control and control.trading_paused),
    }
    return render(request, template, frame | context)


def person_of(request: HttpRequest) -> User:
    """Who is logged in."""
    # Behind django-otp's middleware it is a lazy object that says it is a User, and is one.
    if not isinstance(request.user, User):
        raise TypeError("The views are for people who are logged in.")
    return request.user
