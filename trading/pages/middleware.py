"""Middleware of the pages: caching, activity of sessions, refused attempts, redaction of secrets."""

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_cache_control

from trading.access.audit import note_refusal
from trading.access.sessions import touch
from trading.common.log_context import SHORTEST_SECRET_IN_PAGES, configured_secrets

REDACTED = b"[redacted]"


class NoStoreMiddleware:
    """Forbid browsers and proxies to store responses, since most contain balances or secrets. Static files are not."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response with `Cache-Control: no-store`."""
        response = self._get_response(request)
        patch_cache_control(response, no_store=True)
        return response


class ActivityMiddleware:
    """Record the activity of users, which keeps a session alive. A page that refreshes itself is no activity."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Record the activity, and return the response."""
        refreshes_itself = request.method == "GET" and request.headers.get("HX-Request") == "true"
        if not refreshes_itself and request.user.is_authenticated:
            touch(request)
        return self._get_response(request)


class RefusedAttemptsMiddleware:
    """Record attempts that Django itself refuses, such as in the admin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Record a missing permission; Django answers."""
        if isinstance(exception, PermissionDenied):
            note_refusal("not_permitted", request.path)


class RedactingMiddleware:
    """Replace configured secrets in responses. Short secrets are skipped, since they can match ordinary words."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response without secrets."""
        response = self._get_response(request)
        if not response.streaming:  # only static files are streamed
            body: bytes = response.content  # type: ignore[attr-defined]
            for secret in configured_secrets(SHORTEST_SECRET_IN_PAGES):
                if (found := secret.encode()) in body:
                    body = body.replace(found, REDACTED)
            response.content = body  # type: ignore[attr-defined]
        return response
