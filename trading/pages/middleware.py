"""Middleware of the pages: expired logins of htmx requests, and redaction of secrets in responses."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import resolve_url

from trading.common.log_context import SHORTEST_SECRET_IN_PAGES, configured_secrets

NOTHING_TO_SWAP = 204
REDACTED = b"[redacted]"


class HtmxLoginMiddleware:
    """Redirect the whole page, not the fragment, when an htmx request needs a login."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response, or a redirect of the page to the login and back."""
        response = self._get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        is_fragment = request.headers.get("HX-Request") == "true"
        if not (is_fragment and isinstance(response, HttpResponseRedirectBase) and response.url.startswith(login)):
            return response
        instead = HttpResponse(status=NOTHING_TO_SWAP)
        instead["HX-Redirect"] = request.headers.get("HX-Current-URL", login)
        return instead


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
