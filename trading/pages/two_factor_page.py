import base64
from io import BytesIO

import qrcode
import qrcode.image.svg
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_otp import login as remember_device

from trading.access import two_factor
from trading.access.audit import note
from trading.access.fresh_code import enter_code, mark_fresh
from trading.actions.safety_report import report_change
from trading.pages.layout import render_page, user_of

TEMPLATE = "trading/two_factor.html"
TITLE = "Two-factor authentication (2FA)"


@require_GET
@never_cache
@login_required(login_url="admin:login")
def page(request: HttpRequest) -> HttpResponse:
    """Show the state of 2FA, or the secret to scan."""
    user = user_of(request)
    if two_factor.has_device(user):
        left = two_factor.backup_codes_left(user)
        return render_page(request, TEMPLATE, {"has_device": True, "codes_left": left}, TITLE)
    if refusal := two_factor.enrolment_refusal(user):
        return render_page(request, TEMPLATE, {"refusal": refusal}, TITLE)
    device = two_factor.pending_device(user)
    secret = base64.b32encode(device.bin_key).decode()
    return render_page(request, TEMPLATE, {"qr_code": _as_image(device.config_url), "secret": secret}, TITLE)


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters()
@login_required(login_url="admin:login")
def enter(request: HttpRequest) -> HttpResponse:
    """Ask for a code before a change of safety settings, then return to the page of the change."""
    user, target = user_of(request), request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = resolve_url("trading:dashboard")
    if not two_factor.has_device(user):
        return redirect("trading:two_factor")
    if request.method == "POST":
        if enter_code(request, user, request.POST.get("code", "")):
            messages.success(request, "Code accepted. Repeat the change.")
            return redirect(target)
        messages.error(request, "Invalid or expired code. Repeated failures delay the next attempt.")
    return render_page(request, "trading/enter_code.html", {"target": target}, "Two-factor code")


@require_POST
@never_cache
@sensitive_post_parameters()
@login_required(login_url="admin:login")
def enrol(request: HttpRequest) -> HttpResponse:
    """Confirm a device with its first code and the user's password."""
    user = user_of(request)
    given = {"username": user.get_username(), "password": request.POST.get("password", "")}
    if authenticate(request, **given) != user:
        messages.error(request, "Incorrect password.")
    elif two_factor.has_device(user):
        messages.error(request, "2FA is already enabled. Disable it first.")
    elif refusal := two_factor.enrolment_refusal(user):
        messages.error(request, refusal.message)
    elif done := two_factor.enrol(user, request.POST.get("code", "")):
        device, backup_codes = done
        remember_device(request, device)
        mark_fresh(request)
        note("one-time codes set up", user.get_username())
        # The password alone is enough for this, so that the owner of the login must learn of it.
        report_change(user, "two-factor device set up")
        return render_page(request, TEMPLATE, {"backup_codes": backup_codes}, TITLE)
    else:
        messages.error(request, "Invalid code. Check the clock of your device and enter the next code.")
    return redirect("trading:two_factor")


@require_POST
@never_cache
@sensitive_post_parameters()
@login_required(login_url="admin:login")
def remove(request: HttpRequest) -> HttpResponse:
    """Remove the device, confirmed with one of its codes."""
    if two_factor.remove(user_of(request), request.POST.get("code", "")):
        note("one-time codes removed", user_of(request).get_username())
        report_change(user_of(request), "two-factor devices removed")
        messages.warning(request, "2FA disabled. Logins require your password only.")
    else:
        messages.error(request, "Invalid code. Nothing was changed.")
    return redirect("trading:two_factor")


def _as_image(text: str) -> str:
    """Return a QR code as a data URL, so that no other host receives the secret."""
    out = BytesIO()
    qrcode.make(text, image_factory=qrcode.image.svg.SvgPathFillImage).save(out)
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"
