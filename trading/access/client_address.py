"""From where a request comes, as far as that can be believed."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address of the visitor: the peer's, or behind `PROXY_COUNT` proxies the one that the outermost saw.

    Entries of `X-Forwarded-For` further left are the visitor's own words, and never believed.
    """
    peer: str = request.META.get("REMOTE_ADDR") or ""
    if not settings.PROXY_COUNT:
        return peer
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    return forwarded[-settings.PROXY_COUNT] if len(forwarded) >= settings.PROXY_COUNT else peer
