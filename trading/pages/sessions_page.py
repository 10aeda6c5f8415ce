"""The page that lists the sessions of a user, with buttons that end them."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from trading.access.audit import note
from trading.access.sessions import digest, live_sessions
from trading.models import UserSession
from trading.pages.layout import render_page, user_of

OTHERS = "others"


@require_GET
@login_required(login_url="admin:login")
def sessions(request: HttpRequest) -> HttpResponse:
    """Return the list of the user's sessions."""
    context = {
        "sessions": live_sessions().filter(user=user_of(request)),
        "current": digest(request.session.session_key or ""),
    }
    return render_page(request, "trading/sessions.html", context, "Sessions")


@require_POST
@login_required(login_url="admin:login")
def end(request: HttpRequest) -> HttpResponse:
    """End one session of the user, or all others."""
    chosen = request.POST.get("session", "")
    own = live_sessions().filter(user=user_of(request))
    others = own.exclude(pk=digest(request.session.session_key or ""))
    ended = list(others if chosen == OTHERS else own.filter(pk=chosen))
    UserSession.objects.filter(pk__in=[session.pk for session in ended]).delete()
    for session in ended:
        note("session ended", str(session))
    messages.success(request, f"Sessions ended: {len(ended)}.")
    return redirect("trading:sessions")
