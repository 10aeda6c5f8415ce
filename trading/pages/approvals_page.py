"""The approvals page: the plans that wait for a user, and the latest that no longer do."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account
from trading.actions.approvals import answered_plans, decline_plan, decliner, waiting_plan, waiting_plans
from trading.actions.previews import VIEW_PERMISSION, approval_refusals
from trading.errors import Refused
from trading.guards.may_trade import PERMISSIONS_BACKEND, execute_permissions, may_execute
from trading.models import RebalanceRun
from trading.pages.layout import render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.plan_tables import trade_rows
from trading.pages.refusals import show_refusal
from trading.pages.run_page import find_run

PLANS_A_PAGE = 20
ANSWERED_SHOWN = 10
APPROVERS_NAMED = 3
"""Maximum number of users that a plan names as approvers."""


@require_GET
@never_cache
@require_permission(VIEW_PERMISSION)
def approvals(request: HttpRequest) -> HttpResponse:
    """Return the plans that wait for approval, the next to expire first."""
    page = Paginator(waiting_plans(), PLANS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "cards": _cards(list(page), user_of(request)),
        "answered": [
            {"plan": plan, "state": state, "declined_by": decliner(plan)}
            for plan, state in answered_plans(ANSWERED_SHOWN)
        ],
    }
    return render_page(request, "trading/approvals.html", context, "Approvals")


@require_POST
@require_permission(VIEW_PERMISSION)
def decline(request: HttpRequest, run_id: str) -> HttpResponse:
    """Decline a plan that waits for approval."""
    plan = find_run(run_id)
    try:
        decline_plan(plan, user_of(request), request.POST.get("note", ""))
    except Refused as refusal:
        show_refusal(request, refusal)
        return redirect("trading:run", run_id=run_id)
    messages.success(request, f"The plan of {plan.account.display_name} was declined. Nothing was sent.")
    return redirect("trading:approvals")


def _cards(plans: list[RebalanceRun], user: User) -> list[dict[str, Any]]:
    refusals = approval_refusals(plans, user)
    approvers = {kind: _approvers(account, user) for kind, account in _by_type(plans).items()}
    return [
        {
            "run": plan,
            "account": plan.account,
            "plan": waiting_plan(plan),
            "orders": [*trade_rows(plan, sells=True), *trade_rows(plan, sells=False)],
            "refusal": refusals.get(plan.pk),
            "may_decline": may_execute(user, plan.account),
            "is_live": plan.account.type == Account.Type.LIVE,
            "approvers": approvers[plan.account.type],
        }
        for plan in plans
    ]


def _by_type(plans: Iterable[RebalanceRun]) -> dict[str, Account]:
    """Return an account of each type: who may approve depends on the type only."""
    return {plan.account.type: plan.account for plan in plans}


def _approvers(account: Account, user: User) -> str:
    """Return who may submit orders of accounts of this type, the user of the page first."""
    found = User.objects.all()
    for permission in execute_permissions(account):
        found = found.filter(pk__in=User.objects.with_perm(permission, backend=PERMISSIONS_BACKEND).values("pk"))
    names = [name for pk, name in found.order_by("username").values_list("pk", "username") if pk != user.pk]
    if may_execute(user, account):
        names.insert(0, "you")
    more = len(names) - APPROVERS_NAMED
    named = names[:APPROVERS_NAMED] + ([f"{more} more"] if more > 0 else [])
    return ", ".join(named) or "nobody; ask an administrator for the permission"
