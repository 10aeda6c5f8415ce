"""How the site is set up, as far as safety is concerned."""

from django.conf import settings
from django.contrib.auth.models import User
from django_otp.plugins.otp_totp.models import TOTPDevice

from trading.monitoring.doctor.findings import Finding, ok, problem

CHECK = "site"


def check() -> list[Finding]:
    """Debug mode, https, and people who may do everything with a password alone."""
    return [_debug(), _https(), _people()]


def _debug() -> Finding:
    if settings.DEBUG:
        return problem(CHECK, "DEBUG is on: error pages show the program.", "Set DEBUG=false and restart.")
    return ok(CHECK, "DEBUG is off.")


def _https() -> Finding:
    if not settings.SECURE_SSL_REDIRECT and settings.ALLOW_LIVE_TRADING and "*" in settings.ALLOWED_HOSTS:
        words = "The site answers to any name over plain http, and live trading is allowed."
        return problem(CHECK, words, "Name the site in ALLOWED_HOSTS, and set HTTPS=true behind a proxy with TLS.")
    how = "https only" if settings.SECURE_SSL_REDIRECT else "plain http"
    return ok(CHECK, f"It answers to {', '.join(settings.ALLOWED_HOSTS)} over {how}.")


def _people() -> Finding:
    with_codes = TOTPDevice.objects.filter(confirmed=True).values("user")
    without = User.objects.filter(is_active=True, is_superuser=True).exclude(pk__in=with_codes).count()
    if without and settings.ALLOW_LIVE_TRADING:
        words = f"Live trading is allowed, and {without} superusers log in without one-time codes."
        return problem(CHECK, words, "They set them up under “Codes”; ONE_TIME_CODES_REQUIRED_FOR=live insists on it.")
    return ok(CHECK, f"{without} superusers log in without one-time codes.")
