from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the page of a request that Django refuses before it reaches a view: what happened, and what to do."""
    what, to_do = "The request was not valid.", "Go back, reload the page and try again."
    if isinstance(exception, TooManyFieldsSent):
        what = f"The form has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} fields."
        to_do = (
            "Split it, or import targets from a file: “Import targets” on the strategy, or manage.py import_targets."
        )
    elif isinstance(exception, RequestDataTooBig):
        what = f"The form is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0:,} bytes."
        to_do = "Split it, or import targets from a file."
    context = {"what": what, "to_do": to_do}
    return render(request, "trading/bad_request.html", context, status=400)
