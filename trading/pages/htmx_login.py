"""An ended session sends a fragment's request to the login page, which must not be put into the page."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import resolve_url

NOTHING_TO_SWAP = 204


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
