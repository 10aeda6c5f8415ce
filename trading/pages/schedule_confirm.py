"""Schedule an account: its orders as they would be now, the start, and what submitting the orders asks for."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account
from trading.access.two_factor import has_device
from trading.actions.previews import PREVIEW_PERMISSION, VIEW_PERMISSION, request_preview
from trading.errors import TradingError
from trading.market_calendar import market_calendar
from trading.models import ScheduleEntry, ScheduleState
from trading.pages.layout import accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.plan_tables import plan_summary, weight_rows
from trading.pages.refusals import show_refusal
from trading.pages.would_be_plan import newest_preview, preview_freshness
from trading.schedule.entries import scheduling_refusal
from trading.schedule.next_open import next_open


@require_GET
@require_permission(VIEW_PERMISSION)
def confirm(request: HttpRequest, account_id: str) -> HttpResponse:
    """Show what the account would trade now, and the confirmation that schedules it."""
    account = get_object_or_404(Account.objects.with_followed_strategy(), account_id=account_id)
    user, preview = user_of(request), newest_preview(account)
    waiting = ScheduleEntry.open_entries().filter(account=account, state=ScheduleState.WAITING)
    context = {
        "account": account,
        "opening": next_open(timezone.now(), market_calendar()),
        "waiting": waiting.first(),
        "preview": preview,
        "preview_state": preview_freshness(preview),
        "plan": plan_summary(preview, weight_rows(preview)) if preview is not None and preview.result else None,
        # The exchange is open when the run starts.
        "failed_checks": [
            guard
            for guard in (preview.guards if preview is not None else ())
            if not guard["passed"] and guard["code"] != "market_closed"
        ],
        "refusal": scheduling_refusal(account, user),
        "is_live": account.type == Account.Type.LIVE,
        "needs_code": account.type == Account.Type.LIVE and has_device(user),
        "may_preview": user.has_perm(PREVIEW_PERMISSION),
    }
    return render_page(request, "trading/schedule_confirm.html", context, "Schedule", accounts_crumb())


@require_POST
@require_permission(VIEW_PERMISSION)
def preview_first(request: HttpRequest, account_id: str) -> HttpResponse:
    """Request a preview, and return to the confirmation, which shows its plan."""
    account = get_object_or_404(Account, account_id=account_id)
    try:
        request_preview(account, user_of(request))
    except TradingError as refusal:
        show_refusal(request, refusal)
    return redirect("trading:schedule_confirm", account_id=account_id)
