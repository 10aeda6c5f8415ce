"""The API object: its routers, and handlers that return every error as `{"code", "message"}`."""

import logging
from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from trading.api import write_endpoints  # noqa: F401 - adds its operations to the router
from trading.api.read_endpoints import router
from trading.api.schemas import Refusal
from trading.errors import EventRejected, Refused
from trading.models.run_documents import ErrorLine

logger = logging.getLogger("rebalancer.trading")

# No documentation page: the one that ninja ships loads scripts from another host, which our CSP forbids.
api = NinjaAPI(
    title="Rebalancer",
    version="1",
    description="Accounts, strategies, runs and events. Send `Authorization: Bearer <token>`.",
    docs_url=None,
    openapi_url="/openapi.json",
    urls_namespace="api",
)
api.add_router("", router)


def _answer(request: HttpRequest, status: int, error: ErrorLine) -> HttpResponse:
    answer = api.create_response(request, error.model_dump(), status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        answer["Retry-After"] = "60"
    return answer


@api.exception_handler(Refusal)
def _refusal(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return _answer(request, refusal.status, refusal.error)


@api.exception_handler(Refused)
def _refused(request: HttpRequest, refusal: Refused) -> HttpResponse:
    status = HTTPStatus.FORBIDDEN if refusal.code in {"not_permitted", "code_needed"} else HTTPStatus.CONFLICT
    return _answer(request, status, ErrorLine(code=refusal.code, message=refusal.message))


@api.exception_handler(EventRejected)
def _rejected(request: HttpRequest, rejection: EventRejected) -> HttpResponse:
    conflict = rejection.code == "conflicting_duplicate"
    status = HTTPStatus.CONFLICT if conflict else HTTPStatus.UNPROCESSABLE_ENTITY
    return _answer(request, status, ErrorLine(code=rejection.code, message=rejection.message))


@api.exception_handler(AuthenticationError)
def _unknown_token(request: HttpRequest, _: AuthenticationError) -> HttpResponse:
    message = "The token is missing, unknown, expired or revoked. Send `Authorization: Bearer <token>`."
    return _answer(request, HTTPStatus.UNAUTHORIZED, ErrorLine(code="token_invalid", message=message))


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    message = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors)
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, ErrorLine(code="request_invalid", message=message))


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _answer(request, error.status_code, ErrorLine(code="request_invalid", message=f"{error}."))


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, _: Http404) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND, ErrorLine(code="not_found", message="Not found."))


@api.exception_handler(Exception)
def _broken(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("Unexpected error in the API at %s", request.path, exc_info=error)
    message = "Unexpected error; see the log."
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, ErrorLine(code="internal_error", message=message))


def unknown_path(request: HttpRequest, path: str) -> HttpResponse:
    """Return 404 for any other path under `/api/`."""
    return _not_found(request, Http404())
