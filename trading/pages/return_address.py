"""The page to which a request leads back that could not be carried out: never an address that only accepts POST."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme


def page_of(request: HttpRequest) -> str:
    """Return the address of the page with the form or button that caused the request, as a path with its query.

    Without a usable `Referer` header it is the nearest page above the request's own address: each address that only
    accepts POST is below the page with its form.
    """
    referrer = request.headers.get("Referer", "")
    parts = urlsplit(referrer)
    # A GET from its own address, or from the login, would lead nowhere.
    leads_nowhere = request.method == "GET" and parts.path in (request.path, resolve_url(settings.LOGIN_URL))
    if is_own(request, referrer) and not leads_nowhere:
        return f"{parts.path}?{parts.query}" if parts.query else parts.path
    above = request.path.rstrip("/")
    while above:
        above = above.rpartition("/")[0]
        if _exists(f"{above}/"):
            break
    return f"{above}/"


def is_own(request: HttpRequest, address: str) -> bool:
    """Return whether an address is a page of this site."""
    allowed = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return allowed and _exists(urlsplit(address).path)


def _exists(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True
