"""Authentication by bearer token: its scopes and the permissions of its owner."""

import logging

from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from trading.access.api_tokens import count_request, find_token
from trading.access.client_address import client_address
from trading.access.two_factor import mark_verified
from trading.api.schemas import Refusal
from trading.models import ApiScope, ApiToken

logger = logging.getLogger("rebalancer.trading")

INVALID_TOKENS_PER_MINUTE = 60
"""Limit of requests with an invalid token per minute and process, for all client addresses together.

Valid tokens are not affected, so that an attacker cannot lock others out of the API. The count is kept in memory,
because a database row would let unauthenticated requests cause writes.
"""


class Bearer(HttpBearer):
    """Accept a token that has the scope and whose owner has the permission."""

    def __init__(self, scope: ApiScope, permission: str) -> None:
        super().__init__()
        self.scope = scope
        self.permission = permission

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        """Return the row of a valid token, or None.

        Raises:
            Refusal: the token may not be used for this, or there are too many requests or invalid tokens.
        """
        found = find_token(token)
        if found is None:
            _count_invalid_token(request)
            return None
        if not count_request(found):
            raise Refusal(429, "rate_limited", "Too many requests in this minute. Try again in the next minute.")
        # Set before the checks, so that the audit trail names the token that was refused.
        request.auth, request.user = found, authenticate_owner(found)  # type: ignore[attr-defined]  # as ninja does
        check_scope(found, self.scope, self.permission)
        return found


def check_scope(token: ApiToken, scope: ApiScope, permission: str) -> None:
    """Refuse a token without the scope, or whose owner does not have the permission."""
    if scope not in token.scopes:
        raise Refusal(403, "scope_missing", f"This token does not have the scope `{scope}`. Create one that has it.")
    if not token.owner.has_perm(permission):
        message = f"The owner of this token does not have permission ({permission}). Contact an administrator."
        raise Refusal(403, "not_permitted", message)


def authenticate_owner(token: ApiToken) -> User:
    """Return the owner of the token; a token that may execute counts as a verified login."""
    if ApiScope.EXECUTE in token.scopes:
        mark_verified(token.owner)
    return token.owner


def token_of(request: HttpRequest) -> ApiToken:
    """Return the token of an authenticated request."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja
    return token


def _count_invalid_token(request: HttpRequest) -> None:
    """Count an invalid token; log the first one beyond the limit, and refuse all beyond it.

    A large number means an attack, or a program that still uses an old token.
    """
    key = f"invalid_api_tokens:{timezone.now():%Y%m%d%H%M}"
    cache.add(key, 0, timeout=120)
    count = cache.incr(key)
    if count == INVALID_TOKENS_PER_MINUTE + 1:
        logger.warning(
            "More than %s requests with an invalid API token in this minute, the last from %s. Unless a program of "
            "yours uses an old token, block the address at the proxy",
            INVALID_TOKENS_PER_MINUTE,
            client_address(request),
        )
    if count > INVALID_TOKENS_PER_MINUTE:
        raise Refusal(429, "rate_limited", "Too many invalid tokens in this minute. Try again in the next minute.")
