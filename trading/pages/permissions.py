"""Who may open a page: the login for those whom nobody knows, a page in the frame for those who lack the right."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase

from trading.pages.layout import render_page

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def require_permission(right: str) -> Callable[[View[P]], View[P]]:
    """The view is for people with the right; the admin's login would send others away without a word."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.user.has_perm(right):
                return view(request, *args, **kwargs)
            answer = render_page(request, "trading/no_right.html", {"right": right}, "Not permitted")
            answer.status_code = 403
            return answer

        return login_required(guarded, login_url="admin:login")  # type: ignore[return-value]

    return decorate
