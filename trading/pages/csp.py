import json
import logging

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

logger = logging.getLogger("rebalancer.security")

MAX_BYTES = 16_384
REPEAT_SECONDS = 3600
MAX_FIELD_LENGTH = 120
FIELDS = ("effective-directive", "violated-directive", "blocked-uri", "document-uri")


LINES_PER_HOUR = 20
"""Maximum number of logged violations per hour and process. Any client can send reports with any content."""


@csrf_exempt  # browsers send reports without a CSRF token
@require_POST
def report(request: HttpRequest) -> HttpResponse:
    """Log each kind of violation once an hour. Reports are unauthenticated, so they are not stored."""
    if int(request.headers.get("Content-Length") or 0) > MAX_BYTES:
        return HttpResponse(status=413)
    try:
        content = json.loads(request.body)["csp-report"]
        violation = " ".join(str(content.get(field, ""))[:MAX_FIELD_LENGTH] for field in FIELDS)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return HttpResponse(status=400)
    if cache.add(f"csp:{hash(violation)}", 1, REPEAT_SECONDS) and _is_logged():
        logger.warning("A page broke its security policy: %r", violation)
    return HttpResponse(status=204)


def _is_logged() -> bool:
    cache.add("csp_lines", 0, REPEAT_SECONDS)
    return bool(cache.incr("csp_lines") <= LINES_PER_HOUR)
