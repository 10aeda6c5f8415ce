"""Access to pages: anonymous users get the login page, users without permission an error page."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase

from trading.access.audit import note_refusal
from trading.pages.layout import render_page

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def require_permission(permission: str) -> Callable[[View[P]], View[P]]:
    """Restrict a view to users with a permission. Unlike the admin login, the answer names the missing permission."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.user.has_perm(permission):
                return view(request, *args, **kwargs)
            answer = render_page(
                request, "trading/permission_required.html", {"permission": permission}, "Permission required"
            )
            answer.status_code = 403
            note_refusal("not_permitted", request.path)
            return answer

        return login_required(guarded, login_url="admin:login")  # type: ignore[return-value]

    return decorate
