"""The commission with which a new policy starts: what the broker of most accounts usually charges."""

from typing import Any

from django.apps import apps
from django.db.models import Count

from brokers.exceptions import UnknownBroker
from brokers.registry import connector_class
from calculator import Commission

FIRST_BROKER = "simulated"
"""Broker of an installation without accounts."""


def usual_commission() -> Commission:
    """Return what the broker that most accounts have usually charges, as its connector declares it.

    Without that connector, which is no longer installed, it is the calculator's default.
    """
    counted = apps.get_model("accounts", "Account").objects.values("broker").annotate(accounts=Count("pk"))
    most = counted.order_by("-accounts", "broker").first()
    try:
        return connector_class(most["broker"] if most else FIRST_BROKER).usual_commission
    except UnknownBroker:
        return Commission()


def default_commission(part: str) -> Any:
    """Return one part of the usual commission: a field name of `calculator.Commission`."""
    return getattr(usual_commission(), part)
