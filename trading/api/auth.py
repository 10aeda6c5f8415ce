"""Who calls: the bearer of a token, with its scope and its owner's rights."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.security import HttpBearer

from trading.access.api_tokens import count_request, find_token
from trading.access.two_factor import mark_verified
from trading.api.schemas import Refusal
from trading.api.wrong_tokens import count_wrong_token
from trading.models import ApiScope, ApiToken


class Bearer(HttpBearer):
    """Lets in who holds a token of the scope whose owner has the right."""

    def __init__(self, scope: ApiScope, right: str) -> None:
        super().__init__()
        self.scope = scope
        self.right = right

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        """The token's row.

        Raises:
            Refusal: the token is good, and not for this; or it is one of too many that are wrong.
        """
        found = find_token(token)
        if found is None:
            if not count_wrong_token(request):
                raise Refusal(429, "rate_limited", "Too many wrong tokens within this minute. Try again in the next.")
            return None
        if not count_request(found):
            raise Refusal(429, "rate_limited", "Too many requests within this minute. Try again in the next.")
        check_scope(found, self.scope, self.right)
        request.user = owner_of(found)
        return found


def check_scope(token: ApiToken, scope: ApiScope, right: str) -> None:
    """Refuses what the token is not for, or what its owner may not do."""
    if scope not in token.scopes:
        raise Refusal(403, "scope_missing", f"This token has no scope `{scope}`.")
    if not token.owner.has_perm(right):
        raise Refusal(403, "not_permitted", "The owner of this token has no right to do this.")


def owner_of(token: ApiToken) -> User:
    """The person in whose name the request is made."""
    if ApiScope.EXECUTE in token.scopes:
        mark_verified(token.owner)
    return token.owner


def bearer_of(request: HttpRequest) -> ApiToken:
    """The token of a request that was let in."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja
    return token
