"""Middleware of the pages: logins that expire under a fragment, and secrets that must not leave in a response."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import resolve_url

from trading.common.log_context import SHORTEST_SECRET_IN_PAGES, configured_secrets

NOTHING_TO_SWAP = 204
REDACTED = b"[redacted]"


class HtmxLoginMiddleware:
    """Answers a fragment's request that is sent to the login page with an order to go there whole."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer, or the way to the login page and back to the page that shows the fragment."""
        response = self._get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        is_fragment = request.headers.get("HX-Request") == "true"
        if not (is_fragment and isinstance(response, HttpResponseRedirectBase) and response.url.startswith(login)):
            return response
        instead = HttpResponse(status=NOTHING_TO_SWAP)
        instead["HX-Redirect"] = request.headers.get("HX-Current-URL", login)
        return instead


class RedactingMiddleware:
    """Replaces configured secrets in answers; short ones are left alone, since ordinary words would go with them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Whatever was made for the request, without secrets."""
        response = self._get_response(request)
        if not response.streaming:  # what streams here is static files
            body: bytes = response.content  # type: ignore[attr-defined]
            for secret in configured_secrets(SHORTEST_SECRET_IN_PAGES):
                if (found := secret.encode()) in body:
                    body = body.replace(found, REDACTED)
            response.content = body  # type: ignore[attr-defined]
        return response
