"""The client address of a request behind trusted proxies."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the peer address, or behind `PROXY_COUNT` trusted proxies the address that the outermost one received.

    Entries of `X-Forwarded-For` further to the left are set by the client and never trusted.
    """
    peer: str = request.META.get("REMOTE_ADDR") or ""
    if not settings.PROXY_COUNT:
        return peer
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    return forwarded[-settings.PROXY_COUNT] if len(forwarded) >= settings.PROXY_COUNT else peer
