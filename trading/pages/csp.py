"""Takes what browsers report about pages that break the content security policy."""

import json
import logging

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

logger = logging.getLogger("rebalancer.security")

MOST_BYTES = 16_384
SAME_AGAIN_SECONDS = 3600
LONGEST = 120
FIELDS = ("effective-directive", "violated-directive", "blocked-uri", "document-uri")


@csrf_exempt  # browsers send it by themselves, without a form's token
@require_POST
def report(request: HttpRequest) -> HttpResponse:
    """Logs one line for each kind of breach an hour; anybody may send anything, so that nothing is kept."""
    if int(request.headers.get("Content-Length") or 0) > MOST_BYTES:
        return HttpResponse(status=413)
    try:
        content = json.loads(request.body)["csp-report"]
        breach = " ".join(str(content.get(field, ""))[:LONGEST] for field in FIELDS)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return HttpResponse(status=400)
    if cache.add(f"csp:{hash(breach)}", 1, SAME_AGAIN_SECONDS):
        logger.warning("A page broke its security policy: %r", breach)
    return HttpResponse(status=204)
