"""Lead users whose session has ended through the login and back to the page where they were."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import resolve_url

from trading.access.disarming import WRITING_VIEWS, Effect
from trading.models import RebalanceRun
from trading.pages.return_address import is_own, page_of

NOTHING_TO_SWAP = 204
READS = ("GET", "HEAD", "OPTIONS")
NOTHING_SENT = "You were logged out. Nothing was sent."
NOT_CARRIED_OUT = "You were logged out. This request was not carried out."
NOTHING_DONE = "You were logged out. Nothing was done: repeat the action."


class EndedSessionMiddleware:
    """Return from the login to a page, never to an address that only accepts POST, and report what was not done."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response, or a redirect of the whole page to the login and back."""
        response = self._get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        if not (isinstance(response, HttpResponseRedirectBase) and response.url.startswith(login)):
            return response
        is_write = request.method not in READS
        if is_write and not request.user.is_authenticated:
            _report(request)
        if request.headers.get("HX-Request") == "true":
            instead = HttpResponse(status=NOTHING_TO_SWAP)
            page = request.headers.get("HX-Current-URL", "")
            instead["HX-Redirect"] = page if is_own(request, page) else login
            return instead
        if is_write:
            return HttpResponseRedirect(f"{login}?{urlencode({'next': page_of(request)})}")
        return response


def pending_messages(request: HttpRequest) -> list[str]:
    """Return the messages that wait for the next page, and keep them for it."""
    stored = messages.get_messages(request)
    texts = [str(message) for message in stored]
    stored.used = False  # type: ignore[union-attr]  # the middleware of messages is installed
    return texts


def _report(request: HttpRequest) -> None:
    """Leave a message for the page after the login; once, because the request is unauthenticated."""
    text = _what_was_not_done(request)
    if text not in pending_messages(request):
        messages.warning(request, text)


def _what_was_not_done(request: HttpRequest) -> str:
    match = request.resolver_match
    if match is None:
        return NOTHING_DONE
    # Another tab may have sent the same plan.
    executions = RebalanceRun.objects.filter(approved_preview__run_id=match.kwargs.get("run_id"))
    if match.url_name == "execute" and executions.exists():
        return NOT_CARRIED_OUT
    trades = WRITING_VIEWS.get(match.view_name) == Effect.TRADES
    return NOTHING_SENT if trades or match.url_name == "preview" else NOTHING_DONE
