"""Every page that a person can open, by name, so that none is forgotten by what goes through all of them."""

from typing import Any

from django.contrib import admin
from django.urls import reverse


def product_pages(*, account: Any, strategy: Any, replacement_set: Any, preview: Any, run: Any) -> dict[str, str]:
    """Addresses of the product's pages, for an account id, two names, and two run ids."""
    return {
        "dashboard": "/",
        "account": reverse("trading:account", args=[account]),
        "strategies": "/strategies/",
        "strategy": reverse("trading:strategy", args=[strategy]),
        "replacement sets": "/replacement-sets/",
        "replacement set": reverse("trading:replacement_set", args=[replacement_set]),
        "preview": reverse("trading:run", args=[preview]),
        "run": reverse("trading:run", args=[run]),
        "run, its moving part": reverse("trading:run_fragment", args=[run]),
        "run as CSV": reverse("trading:trades_csv", args=[run]),
        "run as JSON": reverse("trading:run_json", args=[run]),
        "approvals": "/approvals/",
        "runs": "/runs/",
        "runs that need attention": "/runs/?state=attention",
        "runs that failed": "/runs/?state=failed",
        "events": "/events/",
        "events that were late": "/events/?state=late",
        "schedule": "/schedule/",
        "notifications": "/notifications/",
        "queue": "/queue/",
        "one-time codes": "/codes/",
        "sessions": "/sessions/",
    }


def admin_lists() -> dict[str, str]:
    """Addresses of all lists of the admin."""
    return {
        f"admin: {model._meta.verbose_name_plural}": reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        )
        for model in admin.site._registry
    }
