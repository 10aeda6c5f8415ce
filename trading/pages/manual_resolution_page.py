"""Where a person settles an order by hand, and closes a run that needed attention."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import Account
from trading.access.two_factor import has_device
from trading.actions.manual_resolution import Finding, Outcome, can_be_resolved, close_run, may_resolve, resolve_order
from trading.actions.previews import VIEW_PERMISSION
from trading.errors import Refused
from trading.models import Order, RebalanceRun
from trading.pages.layout import account_crumb, accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission

LABELS = {
    Outcome.FILLED: "It was filled, or a part of it; the rest is gone",
    Outcome.CANCELLED: "It has ended, and nothing more was filled than is recorded",
    Outcome.NEVER_ARRIVED: "The broker never had it",
}


class FindingForm(forms.Form):
    """What the broker's statement says of an order."""

    outcome = forms.ChoiceField(choices=[(str(key), label) for key, label in LABELS.items()], widget=forms.RadioSelect)
    shares = forms.DecimalField(min_value=0, max_digits=20, decimal_places=8, required=False)
    price_usd = forms.DecimalField(min_value=0, max_digits=20, decimal_places=8, required=False, label="Price, USD")
    commission_usd = forms.DecimalField(
        min_value=0, max_digits=20, decimal_places=8, required=False, label="Commission in all, USD"
    )
    day = forms.DateField(
        required=False,
        label="Day, if it is not the one on which it was sent",
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    comment = forms.CharField(
        max_length=500, label="How you know, for those who read it later", widget=forms.Textarea(attrs={"rows": 3})
    )

    def finding(self) -> Finding:
        """What was filled in; empty numbers are left to their defaults."""
        told = {name: self.cleaned_data[name] for name in Finding.model_fields}
        return Finding(**{name: value for name, value in told.items() if value not in {None, ""}})


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters()
@require_permission(VIEW_PERMISSION)
def settle(request: HttpRequest, run_id: str, sequence: int) -> HttpResponse:
    """The form for one order, and what becomes of it."""
    orders = Order.objects.select_related("run", "account")
    order = get_object_or_404(orders, run__run_id=run_id, sequence=sequence)
    me = user_of(request)
    form = FindingForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            settled = resolve_order(
                order,
                me,
                form.finding(),
                form.cleaned_data["comment"],
                typed_account_id=request.POST.get("account_id", ""),
                code=request.POST.get("code", ""),
            )
        except Refused as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, f"{settled} is {settled.get_state_display().lower()}.")
            return redirect("trading:run", run_id=run_id)
    is_live = order.account.type == Account.Type.LIVE
    context: dict[str, Any] = {
        "order": order,
        "run": order.run,
        "account": order.account,
        "form": form,
        "may_settle": may_resolve(me),
        "can_settle": may_resolve(me) and can_be_resolved(order),
        "is_live": is_live,
        "needs_code": is_live and has_device(me),
    }
    crumbs = accounts_crumb(), account_crumb(order.account)
    return render_page(request, "trading/settle.html", context, "Settle an order", *crumbs)


@require_POST
@require_permission(VIEW_PERMISSION)
def close(request: HttpRequest, run_id: str) -> HttpResponse:
    """Closes a run that needed attention."""
    run = get_object_or_404(RebalanceRun.objects.select_related("account"), run_id=run_id)
    try:
        close_run(run, user_of(request), request.POST.get("comment", ""))
        messages.success(request, "The run is closed.")
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("trading:run", run_id=run_id)
