"""The four groups of the product and their permissions. Create your own groups for other combinations."""

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

CONFIGURED = ("account", "strategy", "targetallocation", "replacementset", "replacementrule", "rebalancepolicy")
VIEWED_MODELS = (
    *CONFIGURED,
    "brokerconnection",
    "rebalancerun",
    "order",
    "fill",
    "strategyevent",
    "executedsession",
    "notification",
    "processheartbeat",
    "tradingcontrol",
)

VIEWER = {f"view_{model}" for model in VIEWED_MODELS}
OWN_TOKENS = {"view_apitoken", "add_apitoken", "change_apitoken"}
OPERATOR = VIEWER | OWN_TOKENS | {"preview_account", "add_tradingcontrol", "change_tradingcontrol"}
TRADER = OPERATOR | {"execute_account", "execute_live_account", "resolve_order"}
ADMIN = (
    TRADER
    | {f"{verb}_{model}" for verb in ("add", "change", "delete") for model in CONFIGURED}
    | {f"{verb}_{model}" for verb in ("view", "add", "change") for model in ("user", "group")}
    | {f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("webhook", "contractchoice")}
    | {"view_delivery", "view_auditentry"}
)
ROLES = {"viewer": VIEWER, "operator": OPERATOR, "trader": TRADER, "admin": ADMIN}
"""Groups: view; preview and pause; submit orders; configure and assign groups."""


def sync_roles() -> None:
    """Set the permissions of the groups to those of this file; called after each migration."""
    labels = ("accounts", "trading", "auth")
    for label in labels:
        create_permissions(apps.get_app_config(label), verbosity=0)
    permissions = Permission.objects.filter(content_type__app_label__in=labels)
    known = dict(permissions.values_list("codename", "pk"))
    for name, codenames in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(known[codename] for codename in codenames)
