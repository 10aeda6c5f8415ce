"""The API object: its routers, and handlers that return every error as `{"code", "message"}`."""

import logging
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser

from accounts.refusal_text import problem_sentences
from trading.access.audit import note_refusal
from trading.api import write_endpoints  # noqa: F401 - adds its operations to the router
from trading.api.read_endpoints import router
from trading.api.schemas import Refusal
from trading.common.strict_json import read_json
from trading.errors import EventRejected, Refused

logger = logging.getLogger("rebalancer.trading")

FORBIDDEN = {"not_permitted", "code_needed", "approver_is_requester"}
"""Codes of refusals that concern the user, not the state of what was requested."""


class _StrictParser(Parser):
    """Refuses JSON whose objects name a key twice: only one of the values would count."""

    def parse_body(self, request: HttpRequest) -> Any:
        return read_json(request.body, unique_keys=True)


# No documentation page: the one that ninja ships loads scripts from another host, which our CSP forbids.
api = NinjaAPI(
    title="Rebalancer",
    version="1",
    description="Accounts, strategies, runs and events. Send `Authorization: Bearer <token>`.",
    docs_url=None,
    openapi_url="/openapi.json",
    urls_namespace="api",
    parser=_StrictParser(),
)
api.add_router("", router)


def _answer(request: HttpRequest, status: int, code: str, message: str) -> HttpResponse:
    answer = api.create_response(request, {"code": code, "message": message}, status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        answer["Retry-After"] = "60"
    return answer


@api.exception_handler(Refusal)
def _refusal(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    note_refusal(refusal.code, request.path)
    return _answer(request, refusal.status, refusal.code, refusal.message)


@api.exception_handler(Refused)
def _refused(request: HttpRequest, refusal: Refused) -> HttpResponse:
    note_refusal(refusal.code, request.path)
    status = HTTPStatus.FORBIDDEN if refusal.code in FORBIDDEN else HTTPStatus.CONFLICT
    return _answer(request, status, refusal.code, refusal.message)


@api.exception_handler(EventRejected)
def _rejected(request: HttpRequest, rejection: EventRejected) -> HttpResponse:
    conflict = rejection.code == "conflicting_duplicate"
    status = HTTPStatus.CONFLICT if conflict else HTTPStatus.UNPROCESSABLE_ENTITY
    return _answer(request, status, rejection.code, rejection.message)


@api.exception_handler(AuthenticationError)
def _invalid_token(request: HttpRequest, _: AuthenticationError) -> HttpResponse:
    message = "The token is missing, unknown, expired or revoked. Send `Authorization: Bearer <token>`."
    return _answer(request, HTTPStatus.UNAUTHORIZED, "token_invalid", message)


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    message = "; ".join(problem_sentences(error.errors, "body"))
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "request_invalid", message)


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _answer(request, error.status_code, "request_invalid", f"{error}.")


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, _: Http404) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND, "not_found", "Not found.")


@api.exception_handler(Exception)
def _unexpected_error(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("Unexpected error in the API at %s", request.path, exc_info=error)
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Unexpected error; see the log.")


def unknown_path(request: HttpRequest, path: str) -> HttpResponse:
    """Return 404 for any other path under `/api/`."""
    return _not_found(request, Http404())
