"""The page on which people set up one-time codes."""

import base64
from io import BytesIO

import qrcode
import qrcode.image.svg
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST
from django_otp import login as remember_device

from trading.access import two_factor
from trading.access.audit import note
from trading.pages.layout import render_page, user_of

TEMPLATE = "trading/codes.html"
TITLE = "One-time codes"


@require_GET
@never_cache
@login_required(login_url="admin:login")
def page(request: HttpRequest) -> HttpResponse:
    """What the person has, or the secret to scan."""
    person = user_of(request)
    if two_factor.has_device(person):
        left = two_factor.backup_codes_left(person)
        return render_page(request, TEMPLATE, {"has_device": True, "codes_left": left}, TITLE)
    device = two_factor.pending_device(person)
    secret = base64.b32encode(device.bin_key).decode()
    return render_page(request, TEMPLATE, {"qr_code": _as_image(device.config_url), "secret": secret}, TITLE)


@require_POST
@never_cache
@sensitive_post_parameters()
@login_required(login_url="admin:login")
def enrol(request: HttpRequest) -> HttpResponse:
    """Confirms the device with its first code; the password shows that it is the person who asks."""
    person = user_of(request)
    given = {"username": person.get_username(), "password": request.POST.get("password", "")}
    if authenticate(request, **given) != person:
        messages.error(request, "This is not your password.")
    elif two_factor.has_device(person):
        messages.error(request, "You have a device already. Remove it first.")
    elif done := two_factor.enrol(person, request.POST.get("code", "")):
        device, backup_codes = done
        remember_device(request, device)
        note("one-time codes set up", person.get_username())
        return render_page(request, TEMPLATE, {"backup_codes": backup_codes}, TITLE)
    else:
        messages.error(request, "This code is not right. Check the clock of your device, and try the next code.")
    return redirect("trading:codes")


@require_POST
@never_cache
@sensitive_post_parameters()
@login_required(login_url="admin:login")
def remove(request: HttpRequest) -> HttpResponse:
    """Takes the device away, for one of its codes."""
    if two_factor.remove(user_of(request), request.POST.get("code", "")):
        note("one-time codes removed", user_of(request).get_username())
        messages.warning(request, "Your device is removed: logins ask for your password only.")
    else:
        messages.error(request, "This code is not right. Nothing has changed.")
    return redirect("trading:codes")


def _as_image(text: str) -> str:
    """A QR code as an address that an `img` can have; nothing is asked of another host."""
    out = BytesIO()
    qrcode.make(text, image_factory=qrcode.image.svg.SvgPathFillImage).save(out)
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"
