"""The last look at everything the site sends: no configured secret leaves in a page, an error or an export."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from trading.common.log_context import LONG_ENOUGH_FOR_PAGES, configured_secrets

REDACTED = b"[redacted]"


class RedactingMiddleware:
    """Replaces configured secrets in answers; short ones are left alone, since ordinary words would go with them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Whatever was made for the request, without secrets."""
        response = self._get_response(request)
        if not response.streaming:  # what streams here is static files
            body: bytes = response.content  # type: ignore[attr-defined]
            for secret in configured_secrets(LONG_ENOUGH_FOR_PAGES):
                if (found := secret.encode()) in body:
                    body = body.replace(found, REDACTED)
            response.content = body  # type: ignore[attr-defined]
        return response
