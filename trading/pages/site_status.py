"""What users must know on every page before they act: computed once per request, when a template first needs it."""

from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest

from trading.access.two_factor import has_device
from trading.actions.kill_switch import Pause, current_pause
from trading.guards.may_trade import EXECUTE_LIVE_PERMISSION
from trading.models import RebalanceRun
from trading.monitoring.status import ListenerHealth, listener_health, overview, unreachable_broker


@dataclass(frozen=True)
class SiteStatus:
    """The state of the installation, as far as it decides whether anything is traded."""

    pause: Pause | None
    """Who paused trading for all accounts, when and why; None while it is not paused."""
    workers_alive: bool
    needs_attention: int
    """The number of runs that need attention."""
    listener: ListenerHealth
    unreachable: RebalanceRun | None
    """The latest run that did not reach its broker; None if the broker has answered since."""
    live_needs: str
    """What the user needs before live orders can be submitted: `allow_live`, `device` or nothing."""

    @property
    def can_trade_now(self) -> bool:
        """Whether a run that is queued now is executed: trading is not paused, and a worker is running."""
        return self.pause is None and self.workers_alive


def site_status(request: HttpRequest) -> SiteStatus:
    """Return the state of the installation, computed once per request."""
    known = getattr(request, "site_status", None)
    if known is None:
        known = _read(request)
        request.site_status = known  # type: ignore[attr-defined]
    return cast("SiteStatus", known)


def _read(request: HttpRequest) -> SiteStatus:
    health = overview()
    return SiteStatus(
        pause=current_pause(),
        workers_alive=health.workers_alive,
        needs_attention=health.needs_attention,
        listener=listener_health(),
        unreachable=unreachable_broker(),
        live_needs=_live_needs(request),
    )


def _live_needs(request: HttpRequest) -> str:
    if settings.TRADING_MODE != "live":
        return ""
    if not settings.ALLOW_LIVE_TRADING:
        return "allow_live"
    user = request.user
    if settings.ONE_TIME_CODES_REQUIRED_FOR == "nothing" or not isinstance(user, User):
        return ""
    return "device" if user.has_perm(EXECUTE_LIVE_PERMISSION) and not has_device(user) else ""
