from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the peer address, or behind `PROXY_COUNT` trusted proxies the address that the outermost one received.

    Entries of `X-Forwarded-For` further to the left are set by the client and never trusted.
    """
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    count: int = settings.PROXY_COUNT
    if 0 < count <= len(forwarded):
        return forwarded[-count]
    return str(request.META.get("REMOTE_ADDR") or "")
