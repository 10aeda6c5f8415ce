"""The pages of errors. They read no database and no session, so that they also render when those fail."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse

from trading.pages.return_address import page_of

logger = logging.getLogger("rebalancer.trading")

IMPORT = "import targets from a file"
DASHBOARD = "trading:dashboard"


def error_page(
    status: int, code: str, title: str, text: str, *, back: str = "", back_label: str = "Go back"
) -> HttpResponse:
    """Return the page of an error: what happened and what to do, with a link to `back` and one to the dashboard."""
    context = {
        "code": code,
        "title": title,
        "text": text,
        "back": back,
        "back_label": back_label,
        "dashboard": reverse(DASHBOARD),
    }
    try:
        # Without the request: context processors would read the session and the database.
        return HttpResponse(render_to_string("trading/error.html", context), status=status)
    except Exception:  # such as static files that were not collected: an error must not hide behind another
        logger.exception("The page of an error could not be rendered")
        return HttpResponse(f"{title}. {text}\n", status=status, content_type="text/plain; charset=utf-8")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django passes both
    """Return the page of a request that Django refuses before it reaches a view."""
    what, to_do = "The request was not valid.", "Go back, reload the page and try again."
    if isinstance(exception, TooManyFieldsSent):
        what = f"The form has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} fields."
        to_do = f"Split it, or {IMPORT}: “Import targets” on the strategy, or manage.py import_targets."
    elif isinstance(exception, RequestDataTooBig):
        what = f"The form is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0:,} bytes."
        to_do = f"Split it, or {IMPORT}."
    text = f"{what} Nothing was saved. {to_do}"
    return error_page(HTTPStatus.BAD_REQUEST, "bad_request", "Request not accepted", text)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django passes both
    """Return the page of a request that the user may not make."""
    text = "You do not have permission for this page or action. Nothing was done. Contact an administrator."
    return error_page(HTTPStatus.FORBIDDEN, "not_permitted", "Permission required", text)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django passes both
    """Return the page of an address that does not exist."""
    text = "No page has this address. The link may be mistyped, or what it showed was deleted."
    return error_page(HTTPStatus.NOT_FOUND, "not_found", "Page not found", text)


def server_error(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django passes it
    """Return the page of an unexpected error."""
    text = (
        "The page could not be shown. If you submitted a form, check on its page whether it was accepted before you "
        "submit it again. An administrator finds the cause in the log of the site."
    )
    return error_page(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Unexpected error", text)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django passes it
    """Return the page of a form with the token of an earlier login. Django logs the reason."""
    text = (
        "This request was not carried out and sent nothing. This form is from before your last login, or your browser "
        "blocks cookies. Go back to its page, check it, and submit the form again."
    )
    return error_page(
        HTTPStatus.FORBIDDEN,
        "form_outdated",
        "This form is out of date",
        text,
        back=page_of(request),
        back_label="Back to the page",
    )


class UnknownAddressMiddleware:
    """Answer an address with a NUL character like one that does not exist: PostgreSQL has no text with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, or the page of an address that does not exist."""
        if "\0" in request.path and not request.path.startswith("/api/"):
            return page_not_found(request, ValueError("NUL"))
        return self._get_response(request)


class MethodNotAllowedMiddleware:
    """Replace the empty response to a request with the wrong method by a page. The API has its own form of errors."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, with a page if it refuses the method."""
        answer = self._get_response(request)
        if answer.status_code != HTTPStatus.METHOD_NOT_ALLOWED or request.path.startswith("/api/"):
            return answer
        text = "This address only accepts a form that is submitted from its page. Nothing was done."
        page = error_page(
            answer.status_code,
            "method_not_allowed",
            "Open the page instead",
            text,
            back=page_of(request),
            back_label="Go to the page",
        )
        page["Allow"] = answer["Allow"]
        return page
