"""The pages that pause trading for all accounts, and resume it. They work without scripts."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from trading.access.disarming import resume_refusal
from trading.access.fresh_code import fresh_code_refusal
from trading.actions.kill_switch import PAUSE_PERMISSION, resume_by_user, set_paused
from trading.errors import Refused
from trading.models import RebalanceRun, RunMode, RunState, TradingControl
from trading.pages.layout import render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal
from trading.pages.return_address import is_own, page_of

REASON_LENGTH = 200


@require_http_methods(["GET", "POST"])
@never_cache
@require_permission(PAUSE_PERMISSION)
def pause(request: HttpRequest) -> HttpResponse:
    """Confirm the pause of all trading, with an optional reason, and return to the page with the button."""
    if request.method == "POST":
        cancel_orders = "cancel_orders" in request.POST
        reason = request.POST.get("reason", "").strip()[:REASON_LENGTH]
        by = f"by {user_of(request).get_username()}"
        set_paused(None, paused=True, reason=reason, by=by, cancel_orders=cancel_orders)
        # Every page reports the pause itself.
        orders = "Working orders are being cancelled." if cancel_orders else "Orders already submitted remain active."
        messages.info(request, orders)
        return redirect(_target(request))
    executing = RebalanceRun.objects.filter(state=RunState.RUNNING, mode=RunMode.EXECUTE).count()
    context = {"executing": executing, "next": page_of(request), "reason_length": REASON_LENGTH}
    return render_page(request, "trading/pause.html", context, "Pause all trading")


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters()
@require_permission(PAUSE_PERMISSION)
def resume(request: HttpRequest) -> HttpResponse:
    """Confirm that trading resumes for all accounts, with what disarming a protection requires."""
    user = user_of(request)
    if request.method == "POST":
        try:
            changed = resume_by_user(request, user, request.POST.get("otp_token", ""))
            text = "Trading resumed for all accounts." if changed else "Trading is not paused."
            messages.success(request, text)
            return redirect(_target(request))
        except Refused as refusal:
            show_refusal(request, refusal)
    control = TradingControl.objects.filter(trading_paused=True).first()
    context = {
        "next": _target(request) if request.method == "POST" else page_of(request),
        "is_paused": control is not None,
        "refusal": resume_refusal(control, user) if control is not None else None,
        "code_refusal": fresh_code_refusal(request, user),
    }
    return render_page(request, "trading/resume.html", context, "Resume trading")


def _target(request: HttpRequest) -> str:
    """Return the page to return to."""
    target = request.POST.get("next", "")
    return target if is_own(request, target) else reverse("trading:dashboard")
