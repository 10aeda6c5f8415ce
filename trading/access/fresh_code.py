"""Fresh two-factor codes: entered in this session a few minutes ago, as changes of safety settings require."""

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.http import HttpRequest
from django.utils import timezone
from django_otp import login as remember_device

from trading.access.two_factor import check_code, has_device
from trading.errors import Refused

FRESH_SECONDS = 300
"""Time for which a code counts as fresh, in seconds."""
SESSION_KEY = "two_factor_code_at"


def connect() -> None:
    """Count the code of a login as a fresh one."""
    user_logged_in.connect(_logged_in, dispatch_uid="fresh_code.login")


def is_fresh(request: HttpRequest) -> bool:
    """Return whether a code was entered in this session in the last `FRESH_SECONDS`. A token has no session."""
    if hasattr(request, "auth"):
        return False
    age = timezone.now().timestamp() - request.session.get(SESSION_KEY, 0)
    return bool(0 <= age <= FRESH_SECONDS)


def mark_fresh(request: HttpRequest) -> None:
    """Record that a valid code was entered now."""
    request.session[SESSION_KEY] = timezone.now().timestamp()


def enter_code(request: HttpRequest, user: User, code: str) -> bool:
    """Verify a code; a valid one verifies the session and is fresh. A wrong one counts as a failed login."""
    device = check_code(user, code)
    if device is None:
        user_login_failed.send(sender=User, credentials={"username": user.get_username()}, request=request)
        return False
    remember_device(request, device)
    mark_fresh(request)
    return True


def needs_code(user: User, *, concerns_live: bool) -> bool:
    """Return whether the user needs a code for a change of safety settings, which may concern live accounts."""
    required = settings.ONE_TIME_CODES_REQUIRED_FOR
    return required == "execute" or (required == "live" and concerns_live) or has_device(user)


def fresh_code_refusal(request: HttpRequest, user: User, *, concerns_live: bool = True) -> Refused | None:
    """Return why the user may not change a safety setting without another code, or None."""
    if is_fresh(request) or not needs_code(user, concerns_live=concerns_live):
        return None
    if not has_device(user):
        return Refused(
            "code_device_needed",
            "Nothing was changed. Safety settings require two-factor authentication (2FA). Set it up first.",
        )
    return Refused(
        "fresh_code_needed",
        f"Nothing was changed. This changes a safety setting: enter a two-factor code. It counts for "
        f"{FRESH_SECONDS // 60} minutes.",
    )


def require_fresh_code(request: HttpRequest, user: User, *, concerns_live: bool = True) -> None:
    """Check that the user may change safety settings now.

    Raises:
        Refused: `fresh_code_needed` or `code_device_needed`; enter a code or set up a device, then repeat the change.
    """
    if refusal := fresh_code_refusal(request, user, concerns_live=concerns_live):
        raise refusal


def _logged_in(request: HttpRequest, user: User, **_: object) -> None:
    if getattr(user, "otp_device", None) is not None:
        mark_fresh(request)
