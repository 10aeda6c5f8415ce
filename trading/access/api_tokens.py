"""Tokens of the API: made, found by their digest, counted, revoked."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Case, F, Q, When
from django.utils import timezone

from trading.access.two_factor import has_device, is_verified
from trading.errors import Refused
from trading.models import ApiScope, ApiToken

PREFIX = "rbt_"
SHOWN = 10


def make_token(
    name: str, owner: User, scopes: Iterable[str], *, days: int, made_by: User | None = None
) -> tuple[ApiToken, str]:
    """Makes a token.

    Args:
        name: what it is for.
        owner: whose rights it has, at most.
        scopes: what it may be used for.
        days: how long it lives.
        made_by: the person at the page; None for a command.

    Returns:
        Its row, and the token itself, which is stored nowhere: this is the only time that it is shown.

    Raises:
        Refused: it may execute, and the person has not given a one-time code though codes are used here.
    """
    chosen = [str(ApiScope(scope)) for scope in scopes]
    if made_by is not None and (refusal := may_make(chosen, made_by)):
        raise refusal
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        name=name,
        owner=owner,
        digest=_digest(token),
        beginning=token[:SHOWN],
        scopes=chosen,
        expires_at=timezone.now() + timedelta(days=days),
    )
    return row, token


def may_make(scopes: Iterable[str], person: User) -> Refused | None:
    """What keeps the person from making a token of these scopes at a page; None when nothing does.

    A token that may execute is as good as a login with a code, so that it takes one where codes are used.
    """
    if ApiScope.EXECUTE not in scopes or is_verified(person):
        return None
    if has_device(person):
        return Refused("code_needed", "A token that may execute needs a login with a one-time code.")
    if settings.ONE_TIME_CODES_REQUIRED_FOR != "nothing":
        return Refused("code_device_needed", "A token that may execute needs one-time codes. Set them up first.")
    return None


def find_token(token: str) -> ApiToken | None:
    """The row of a token that is valid now and whose owner still is somebody."""
    if not token.startswith(PREFIX):
        return None
    found = ApiToken.objects.select_related("owner").filter(digest=_digest(token), owner__is_active=True).first()
    return found if found is not None and found.is_valid else None


def count_request(token: ApiToken) -> bool:
    """Counts a request of the token, in the database: all processes share the count.

    Returns:
        Whether it is within `API_REQUESTS_PER_MINUTE`.
    """
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


def revoke(token: ApiToken, at: datetime | None = None) -> None:
    """Ends a token for good."""
    ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=at or timezone.now())


def _digest(token: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()
