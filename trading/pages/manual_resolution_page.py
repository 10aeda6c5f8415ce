"""The page to resolve an order manually, and the button to close a run that needs attention."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import Account
from trading.access.audit import note_refusal
from trading.access.two_factor import has_device
from trading.actions import manual_resolution
from trading.actions.manual_resolution import Outcome, Resolution, may_resolve
from trading.actions.previews import VIEW_PERMISSION
from trading.errors import Refused
from trading.models import Order, RebalanceRun
from trading.pages.layout import account_crumb, accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.refusals import show_refusal

LABELS = {
    Outcome.FILLED: "Filled, in full or in part; the rest is no longer open",
    Outcome.CANCELLED: "Ended without further fills",
    Outcome.NEVER_ARRIVED: "Never received by the broker",
}


def _number(label: str | None = None) -> forms.DecimalField:
    return forms.DecimalField(min_value=0, max_digits=20, decimal_places=8, required=False, label=label)


class ResolutionForm(forms.Form):
    """The outcome of an order according to the broker's statement."""

    outcome = forms.ChoiceField(choices=[(str(key), label) for key, label in LABELS.items()], widget=forms.RadioSelect)
    shares = _number()
    price_usd = _number("Price (USD)")
    commission_usd = _number("Total commission (USD)")
    day = forms.DateField(
        required=False, label="Fill date, if not the submission date", widget=forms.DateInput(attrs={"type": "date"})
    )
    comment = forms.CharField(
        max_length=500, label="Comment (source of this information)", widget=forms.Textarea(attrs={"rows": 3})
    )

    def resolution(self) -> Resolution:
        """Return the entered values; empty numbers get their defaults."""
        values = {name: self.cleaned_data[name] for name in Resolution.model_fields}
        return Resolution(**{name: value for name, value in values.items() if value not in {None, ""}})


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters()
@require_permission(VIEW_PERMISSION)
def resolve(request: HttpRequest, run_id: str, sequence: int) -> HttpResponse:
    """Show the form for one order, and resolve the order."""
    orders, user = Order.objects.select_related("run", "account"), user_of(request)
    order = get_object_or_404(orders, run__run_id=run_id, sequence=sequence)
    form = ResolutionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            resolved = manual_resolution.resolve_order(
                order,
                user,
                form.resolution(),
                form.cleaned_data["comment"],
                typed_account_id=request.POST.get("account_id", ""),
                code=request.POST.get("code", ""),
            )
        except Refused as refusal:
            form.add_error(None, refusal.message)
            note_refusal(refusal.code, request.path)
        else:
            messages.success(request, f"Order resolved: {resolved} is {resolved.get_state_display().lower()}.")
            return redirect("trading:run", run_id=run_id)
    is_live = order.account.type == Account.Type.LIVE
    context: dict[str, Any] = {
        "order": order,
        "run": order.run,
        "account": order.account,
        "form": form,
        "may_resolve": may_resolve(user),
        "can_resolve": may_resolve(user) and manual_resolution.can_be_resolved(order),
        "is_live": is_live,
        "needs_code": is_live and has_device(user),
    }
    crumbs = accounts_crumb(), account_crumb(order.account)
    return render_page(request, "trading/resolve_order.html", context, "Resolve orders", *crumbs)


@require_POST
@require_permission(VIEW_PERMISSION)
def close(request: HttpRequest, run_id: str) -> HttpResponse:
    """Close a run that needs attention."""
    run = get_object_or_404(RebalanceRun.objects.select_related("account"), run_id=run_id)
    try:
        manual_resolution.close_run(run, user_of(request), request.POST.get("comment", ""))
        messages.success(request, "Run closed.")
    except Refused as refusal:
        show_refusal(request, refusal)
    return redirect("trading:run", run_id=run_id)
