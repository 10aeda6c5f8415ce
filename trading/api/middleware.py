"""Whatever refuses a call of the API, Django itself included, does so in the API's form."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase, JsonResponse

CODES = {
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take this method."),
    500: ("internal_error", "Something went wrong that nobody foresaw; the log has the details."),
}
OTHERS = ("request_invalid", "The request cannot be understood.")


class JsonRefusals:
    """Turns refusals under `/api/` that are no JSON into `{"code", "message"}`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, in the API's form."""
        answer = self._get_response(request)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        if not request.path.startswith("/api/") or answer.status_code < 400 or is_json:
            return answer
        code, message = CODES.get(answer.status_code, OTHERS)
        refusal = JsonResponse({"code": code, "message": message}, status=answer.status_code)
        if "Allow" in answer.headers:
            refusal["Allow"] = answer.headers["Allow"]
        return refusal
