"""Return errors under `/api/` that Django itself produces in the format of the API."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase, JsonResponse

CODES = {
    404: ("not_found", "Not found."),
    405: ("method_not_allowed", "This method is not allowed here."),
    500: ("internal_error", "Unexpected error; see the log."),
}


class JsonErrors:
    """Convert error responses under `/api/` that are not JSON to `{"code", "message"}`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, with an error in the API's format."""
        answer = self._get_response(request)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        if not request.path.startswith("/api/") or answer.status_code < 400 or is_json:
            return answer
        code, message = CODES.get(answer.status_code, ("request_invalid", "The request is not valid."))
        refusal = JsonResponse({"code": code, "message": message}, status=answer.status_code)
        if "Allow" in answer.headers:
            refusal["Allow"] = answer.headers["Allow"]
        return refusal
