import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Case, F, Q, When
from django.utils import timezone

from trading.access.two_factor import has_device, is_verified
from trading.errors import Refused
from trading.models import ApiScope, ApiToken

PREFIX = "rbt_"
PREFIX_LENGTH = 10


def create_token(
    name: str, owner: User, scopes: Iterable[str], *, days: int, created_by: User | None = None
) -> tuple[ApiToken, str]:
    """Create a token that lives for the days. `created_by` is the user who creates it on a page; None for a command.

    Returns:
        The row, and the token itself, which is not stored: this is the only time that it is shown.

    Raises:
        Refused: the token may execute, and the user has not logged in with a two-factor code that is required.
    """
    chosen = [str(ApiScope(scope)) for scope in scopes]
    if created_by is not None and (refusal := creation_refusal(chosen, created_by)):
        raise refusal
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        name=name,
        owner=owner,
        digest=_digest(token),
        beginning=token[:PREFIX_LENGTH],
        scopes=chosen,
        expires_at=timezone.now() + timedelta(days=days),
    )
    return row, token


def creation_refusal(scopes: Iterable[str], person: User) -> Refused | None:
    """Return why the user may not create a token with these scopes on a page, or None.

    A token that may execute or approve replaces a login with a two-factor code, so creating one requires such a login.
    """
    if not {ApiScope.EXECUTE, ApiScope.APPROVE}.intersection(scopes) or is_verified(person):
        return None
    if has_device(person):
        return Refused("code_needed", "Log in with a two-factor code to create a token that may execute or approve.")
    if settings.ONE_TIME_CODES_REQUIRED_FOR != "nothing":
        return Refused(
            "code_device_needed", "Set up two-factor authentication to create a token that may execute or approve."
        )
    return None


def find_token(token: str) -> ApiToken | None:
    """Return the row of a token that is valid now and whose owner is active, or None."""
    if not token.startswith(PREFIX):
        return None
    found = ApiToken.objects.select_related("owner").filter(digest=_digest(token), owner__is_active=True).first()
    return found if found is not None and found.is_valid else None


def count_request(token: ApiToken) -> bool:
    """Count a request in the database, which all processes share. Return whether it is within the limit."""
    now = timezone.now()
    minute = now.replace(second=0, microsecond=0)
    another_minute = Q(window_started_at__isnull=True) | Q(window_started_at__lt=minute)
    within = Q(window_started_at=minute, window_requests__lt=settings.API_REQUESTS_PER_MINUTE)
    counted = ApiToken.objects.filter(another_minute | within, pk=token.pk).update(
        window_requests=Case(When(window_started_at=minute, then=F("window_requests") + 1), default=1),
        window_started_at=minute,
        last_used_at=now,
    )
    return bool(counted)


def revoke(token: ApiToken) -> None:
    """Revoke a token permanently."""
    ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())


def _digest(token: str) -> str:
    # 256 random bits cannot be guessed, so that a fast hash is enough.
    return hashlib.sha256(token.encode()).hexdigest()
